"""Root on a home of somebody else's: what it does there is done as that user."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = pwd.getpwnam("nobody")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

PROGRAM = """
import os, sys
from jan import owner, settings
owner.PROGRAM = sys.argv[2:]  # whether others can read this checkout is not the question here
owner.become({"home": sys.argv[1]})
loaded = settings.load()
print(os.getuid(), os.getgid(), os.getgroups(), loaded.settings.home, os.environ["HOME"])
print(*[name for name in os.environ if name.startswith("XDG_")])
"""


def _run(*arguments: Path | str, **environ: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: there is no way back from another user."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "HOME": "/root", **environ},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _become(home: Path, **environ: str) -> list[str]:
    run = _run(home, **environ)
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\n")


def test_root_turns_into_the_owner_for_good(home: Path) -> None:
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)

    who, folders, _ = _become(home, XDG_CACHE_HOME="/root/.cache", XDG_DATA_HOME="/root/.data")

    ids = f"{NOBODY.pw_uid} {NOBODY.pw_gid} [{NOBODY.pw_gid}]"
    assert who == f"{ids} {home} {NOBODY.pw_dir}"
    assert folders == ""


def test_root_stays_root_where_it_is_its_own_home(home: Path) -> None:
    assert _become(home)[0].startswith("0 0 ")
    assert _become(home / "not made yet")[0].startswith("0 0 ")


def test_an_owner_who_is_no_user_here_changes_nothing(home: Path) -> None:
    os.chown(home, 54321, 54321)

    assert _become(home)[0].startswith("0 0 ")


def test_an_owner_who_cant_read_this_program_is_told(home: Path, tmp_path: Path) -> None:
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    run = _run(home, closed / "owner.py")

    assert f"belongs to the user `nobody`, who can't read {closed}/owner.py" in run.stderr
