"""`jan model` from adding to removing, as a script uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner import models


def jan(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    argv = [sys.executable, "-m", "jan", "--home", str(home), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_model_is_added_listed_shown_and_removed(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")

    added = jan(home, "model", "add", str(folder), "--name", "org/tiny")
    listed = jan(home, "model", "list", "--json")
    shown = jan(home, "model", "show", "org/tiny")
    removed = jan(home, "model", "remove", "org/tiny")

    assert added.returncode == 0
    assert added.stdout == ""
    assert [model["name"] for model in json.loads(listed.stdout)] == ["org/tiny"]
    assert str(folder) in shown.stdout
    assert "model.safetensors" in shown.stdout
    assert removed.returncode == 0
    assert json.loads(jan(home, "model", "list", "--json").stdout) == []


def test_a_folder_without_a_model_is_refused(home: Path, tmp_path: Path) -> None:
    done = jan(home, "model", "add", str(tmp_path))

    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "config.json" in done.stderr


@pytest.mark.parametrize("address", ["org/tiny", "jan://nowhere.invalid/org/tiny"])
def test_what_is_in_the_store_is_not_pulled_again_if_only_missing_ones_are_wanted(
    home: Path, tmp_path: Path, address: str
) -> None:
    folder = models.write(tmp_path / "tiny")
    assert jan(home, "model", "add", str(folder), "--name", "org/tiny").returncode == 0

    found = jan(home, "model", "pull", "--if-missing", address)

    assert (found.returncode, found.stdout) == (0, "")
    assert "org/tiny is there already" in found.stderr
