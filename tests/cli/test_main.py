"""The command line as a script sees it: output, words, exit codes."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from jan.cli import durations
from jan.cli.main import COMMANDS
from jan.errors import InvalidRequest


def jan(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jan", *arguments],
        env={**os.environ, "JAN_HOME": str(home), **environ},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(home: Path, command: str) -> None:
    run = jan(home, command, "--help")

    assert run.returncode == 0, run.stderr
    assert f"jan {command}" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "No such command"),
        (["key", "create"], 2, "--name"),
        (["key", "create", "--name", ""], 1, "error: A key's name"),
        (["key", "create", "--name", "x", "--expires", "soon"], 1, "error: `soon`"),
        (["--config", "/nowhere.toml", "config", "show"], 1, "error: There is no"),
    ],
)
def test_a_refusal_has_a_code_and_words_and_no_data(
    home: Path, arguments: list[str], code: int, words: str
) -> None:
    run = jan(home, *arguments)

    assert (run.returncode, run.stdout) == (code, "")
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_a_file_that_is_closed_to_us_is_named() -> None:
    program = """
from jan.cli import main
def build(_):
    def command():
        raise PermissionError(13, "Permission denied", "/root/model")
    return command
main.build = build
main.main()
"""

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert run.returncode == 1
    assert "error: /root/model: Permission denied.\nhint: Jan acts as the user `" in run.stderr


BUG = """
import sys
from jan.cli import main
def build(_):
    def command():
        raise KeyError("my-private-prompt")
    return command
main.build = build
main.main()
"""


def _buggy(stderr: int, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUG], env={**os.environ, **environ}, stderr=stderr, text=True
    )


def test_a_bug_in_a_command_that_is_logged_is_told_by_its_place() -> None:
    run = _buggy(subprocess.PIPE)
    _, said = run.communicate(timeout=30)

    assert run.returncode == 70
    assert "error_type=KeyError raised_at=<string>:6" in said
    assert "Traceback" not in said
    assert "private" not in said


def test_at_level_debug_a_bug_has_its_traceback() -> None:
    run = _buggy(subprocess.PIPE, JAN_LOG_LEVEL="debug")
    _, said = run.communicate(timeout=30)

    assert run.returncode == 70
    assert "Traceback" in said


def test_a_person_at_a_terminal_gets_the_traceback_to_report() -> None:
    ours, theirs = os.openpty()
    run = _buggy(theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # how a terminal says that the other side has gone
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)

    assert run.wait(timeout=30) == 70
    assert b"Traceback" in said
    assert b"please report it with the lines above" in said


def test_a_key_is_all_that_key_create_prints(home: Path, database_url: str) -> None:
    created = jan(home, "key", "create", "--name", "ci", JAN_DATABASE_URL=database_url)
    listed = jan(home, "key", "list", "--json", JAN_DATABASE_URL=database_url)

    assert created.returncode == 0, created.stderr
    assert created.stdout.startswith("sk-jan-")
    assert created.stdout.count("\n") == 1
    (key,) = json.loads(listed.stdout)
    assert (key["name"], key["status"]) == ("ci", "active")
    assert created.stdout.strip() not in listed.stdout


def test_a_key_is_revoked_by_its_id(home: Path, database_url: str) -> None:
    made = jan(home, "key", "create", "--name", "ci", "--json", JAN_DATABASE_URL=database_url)
    key_id = json.loads(made.stdout)["id"]

    revoked = jan(home, "key", "revoke", key_id, JAN_DATABASE_URL=database_url)
    shown = jan(home, "key", "show", key_id, "--json", JAN_DATABASE_URL=database_url)
    missing = jan(home, "key", "revoke", "key_missing", JAN_DATABASE_URL=database_url)

    assert revoked.returncode == 0
    assert json.loads(shown.stdout)["status"] == "revoked"
    assert missing.returncode == 1


def test_settings_are_shown_with_their_origin_and_without_secrets(home: Path) -> None:
    (home / "jan.toml").write_text('host = "0.0.0.0"\n', encoding="utf-8")

    run = jan(home, "config", "show", "--json", APIKEY_SECRET="hunter2-" * 8, JAN_PORT="9")

    shown = json.loads(run.stdout)
    assert shown["port"] == {"value": "9", "origin": "environment (JAN_PORT)"}
    assert shown["host"]["origin"].endswith("jan.toml")
    assert shown["api_key_secret"]["value"] == "***"
    assert "hunter2" not in run.stdout + run.stderr


def test_secrets_of_the_home_are_shown_to_be_there(home: Path) -> None:
    (home / "secrets.toml").write_text("jwt_secret = 'hunter2'", encoding="utf-8")

    run = jan(home, "config", "show", "--json", APIKEY_SECRET="s" * 32)

    shown = json.loads(run.stdout)
    assert shown["jwt_secret"] == {"value": "***", "origin": str(home / "secrets.toml")}
    assert shown["api_key_secret"]["origin"] == "environment (APIKEY_SECRET)"
    assert "hunter2" not in run.stdout + run.stderr


def test_checking_the_configuration_makes_nothing(home: Path) -> None:
    new = home / "new"

    good = jan(home, "--home", str(new), "config", "check")
    bad = jan(home, "--home", str(new), "config", "check", JAN_DATABASE_URL="host=db hunter2")

    assert (good.returncode, bad.returncode) == (0, 1), good.stderr
    assert "secrets.toml will be made" in good.stderr
    assert "`database_url`" in bad.stderr
    assert not new.exists()


def test_a_command_starts_the_database_itself_and_leaves_nothing_running(home: Path) -> None:
    run = jan(home, "migrate", "status", "--json")

    assert run.returncode == 0, run.stderr
    assert [step["has_run"] for step in json.loads(run.stdout)].count(True) == 0
    assert list((home / "run/postgres").iterdir()) == []


def test_two_commands_at_once_share_the_database(home: Path) -> None:
    environ = {**os.environ, "JAN_HOME": str(home)}
    argv = [sys.executable, "-m", "jan", "key", "create", "--name"]
    runs = [
        subprocess.Popen([*argv, f"k{n}"], env=environ, cwd=home, stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    keys = [run.communicate(timeout=60)[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len(set(keys)) == 3
    assert len(json.loads(jan(home, "key", "list", "--json").stdout)) == 3


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1w", "1.5h", "9" * 30 + "d", "1 d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        durations.parse(text, param="since")
