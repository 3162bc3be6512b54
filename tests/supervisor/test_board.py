"""What `jan serve` writes where nobody looks on. In a process of its own: logging is global."""

import json
import subprocess
import sys
from typing import Any

PRELUDE = """
from jan import settings
from jan.errors import Unavailable
from jan.supervisor.board import shown
with shown(settings.load({"log_format": FORMAT}).settings, ["database"]) as board:
"""


def written(code: str, log_format: str = "json") -> str:
    """Run `code` with a board, and return what came out."""
    program = PRELUDE.replace("FORMAT", repr(log_format)) + f"    {code}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout == b""
    return run.stderr.decode()


def events(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(code).splitlines()]


def test_a_line_of_json_that_a_child_logs_passes_unchanged() -> None:
    line = '{"event": "hello",   "level": "info"}'

    assert written(f"board.relay('gateway')({line!r})") == line + "\n"


def test_a_line_that_is_none_becomes_one() -> None:
    (event,) = events("board.relay('gateway')('Traceback: caf\\xe9')")

    assert event["event"] == "Traceback: café"
    assert event["part"] == "gateway"
    assert event["level"] == "warning"


def test_console_lines_pass_unchanged_too() -> None:
    assert written("board.relay('gateway')('12:00 hello')", "console") == "12:00 hello\n"


def test_a_failure_is_told_with_its_reason_and_when_it_is_tried_again() -> None:
    (event,) = events("board.failed('database', Unavailable('It died.', hint='x'), again_in_s=1.5)")

    assert (event["event"], event["hint"], event["again_in_s"]) == ("It died.", "x", 1.5)


def test_last_words_stand_as_they_were_where_people_read() -> None:
    failed = "board.failed('model', Unavailable('It died.', hint='Traceback:\\n  ValueError: x'))"

    told = written(failed, "console").splitlines()

    assert "It died." in told[0]
    assert told[1:] == ["    Traceback:", "      ValueError: x"]


def test_a_part_that_keeps_failing_is_told_of_once_and_again_after_it_worked() -> None:
    again = "board.broken('model', Unavailable('It died.'), again_in_s=60)"
    tried = f"(board.working('model', 'Loading'), {again})"

    told = [event["event"] for event in events(f"[{again}, {tried}, {tried}]")]
    twice = [
        event["event"] for event in events(f"[{again}, board.ready('model', 'tiny'), {again}]")
    ]

    words = "keeps failing, tried again only every 60 s: It died."
    assert told == [words]
    assert twice == [words, "tiny", words]


def test_a_part_that_is_still_ready_is_not_told_of_twice() -> None:
    assert len(events("[board.ready('engine', 'cpu-1') for _ in range(3)]")) == 1
    assert (
        len(events("(board.ready('x', 'a'), board.working('x', 'b'), board.ready('x', 'a'))")) == 3
    )


def test_progress_is_told_by_the_tenth() -> None:
    told = events("[board.working('database', 'Copying', i / 100) for i in range(100)]")

    assert len(told) == 10


def test_the_first_key_is_never_logged() -> None:
    assert "sk-jan-x" not in written("board.first_key('sk-jan-x')")
    assert "jan key create" in written("board.first_key(None)")


def test_the_first_owners_link_is_never_logged() -> None:
    assert "code" not in written("board.setup_link('http://x/setup?code=abc')")
    assert "jan setup" in written("board.setup_link(None)")
