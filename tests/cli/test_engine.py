"""`jan engine list` and `remove`; installing is tested beside its code."""

import json
import subprocess
import sys
from pathlib import Path

from tests.runner import fake_engine


def jan(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    argv = [sys.executable, "-m", "jan", "--home", str(home), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_an_engine_is_listed_and_removed(home: Path) -> None:
    engine = fake_engine.write(home)

    listed = json.loads(jan(home, "engine", "list", "--json").stdout)
    removed = jan(home, "engine", "remove", engine.name)

    assert [(each["name"], each["is_current"]) for each in listed] == [(engine.name, True)]
    assert removed.returncode == 0
    assert not engine.folder.exists()


def test_an_engine_that_is_not_there_is_not_removed(home: Path) -> None:
    done = jan(home, "engine", "remove", "cpu-0.1")

    assert done.returncode == 1
    assert "No engine `cpu-0.1` is installed." in done.stderr
