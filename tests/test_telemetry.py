"""Log lines: where they go, what is in them, what never is."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging, structlog
from jan import telemetry
telemetry.configure({log_format!r}, "info")
log = structlog.get_logger("jan.test")
log.debug("hidden")
log.info("hello", number=1)
logging.getLogger("uvicorn.error").warning("from %s", "below")
secret = "sk-jan-very-secret"
try:
    raise ValueError("broken")
except ValueError as error:
    log.error("failed", exc_info=error)
"""


def run(log_format: str) -> subprocess.CompletedProcess[str]:
    """Log a few lines in a process of their own."""
    script = SCRIPT.format(log_format=log_format)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_away_from_a_terminal_each_line_is_json_on_standard_error(log_format: str) -> None:
    done = run(log_format)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert not done.stdout
    assert [line["event"] for line in lines] == ["hello", "from below", "failed"]
    assert lines[0]["number"] == 1
    assert lines[1]["logger"] == "uvicorn.error"
    assert "ValueError: broken" in lines[2]["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_show_the_values_of_variables(log_format: str) -> None:
    assert "ValueError: broken" in run(log_format).stderr
    assert "very-secret" not in run(log_format).stderr.replace('secret = "sk-jan-very-secret"', "")
