"""Log lines: where they go, what is in them, what never is."""

import json
import subprocess
import sys

import pytest

from jan import telemetry, values

SCRIPT = """
import asyncio, gc, logging, structlog
from jan import telemetry
telemetry.configure({log_format!r}, {level!r})
log = structlog.get_logger("jan.test")
log.debug("hidden")
log.info("hello", number=1)
logging.getLogger("uvicorn.error").warning("from %s", "below")
logging.getLogger("httpx2").info("GET https://search.example/?q=my-private" + "-prompt")
password = "sk-jan-very-" + "secret"

def fail():
    raise ValueError("quoting my-private" + "-prompt")

async def main():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(fail))
    except ExceptionGroup as error:
        log.error("failed", exc_info=error)
    try:
        fail()
    except ValueError:
        log.exception("failed again")
        logging.getLogger("other").exception("failed below (%s)", password)
    asyncio.get_running_loop().call_soon(fail_with, "my-private" + "-prompt")
    asyncio.get_running_loop().create_future().set_exception(ValueError("my-private" + "-prompt"))
    gc.collect()
    await asyncio.sleep(0)

def fail_with(prompt):
    fail()

asyncio.run(main())
"""
EVENTS = [
    "hello",
    "from below",
    "failed",
    "failed again",
    "failed below",
    "Future exception was never retrieved",
    "Exception in callback fail_with",
]


def run(log_format: str, level: str = "info") -> subprocess.CompletedProcess[str]:
    """Log a few lines in a process of their own."""
    script = SCRIPT.format(log_format=log_format, level=level)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_away_from_a_terminal_each_line_is_json_on_standard_error(log_format: str) -> None:
    done = run(log_format)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert not done.stdout
    assert [line["event"] for line in lines] == EVENTS
    assert lines[0]["number"] == 1
    assert lines[1]["logger"] == "uvicorn.error"


def test_of_an_exception_the_type_and_the_place_are_told() -> None:
    before, _, _ = SCRIPT.partition("    raise ValueError")

    lines = [json.loads(line) for line in run("json").stderr.splitlines()]

    told = [line for line in lines if line.get("error_type")]
    assert [line["event"] for line in told] == EVENTS[2:]
    assert {line["error_type"] for line in told} == {"ValueError"}
    places = {line["raised_at"] for line in told if "raised_at" in line}
    assert places == {f"<string>:{before.count(chr(10)) + 1}"}


def test_the_last_place_in_jan_is_told_where_another_library_raised() -> None:
    with pytest.raises(ValueError, match="IPv6") as caught:
        values.http_url("http://[")

    told = telemetry.brief(caught.value)

    assert told["error_type"] == "ValueError"
    assert "urllib" in told["raised_at"]
    assert "jan/values.py:" in told["called_at"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_neither_traceback_nor_words_of_an_exception_are_told(log_format: str) -> None:
    said = run(log_format).stderr

    assert "ValueError" in said
    assert "Traceback" not in said
    assert "private" not in said
    assert "very-secret" not in said


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_at_level_debug_there_is_a_traceback_without_the_values_of_variables(
    log_format: str,
) -> None:
    said = run(log_format, "debug").stderr

    assert said.count("Traceback (most recent call last)") >= 5
    assert "ValueError: quoting my-private-prompt" in said
    assert "very-secret" not in said.replace("failed below (sk-jan-very-secret)", "")
