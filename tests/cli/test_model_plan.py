"""`jan model plan` on a machine on which nothing runs."""

import json
import subprocess
import sys
from pathlib import Path

from jan.supervisor import lock
from tests.runner import models


def jan(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    argv = [sys.executable, "-m", "jan", "--home", str(home), "model", "plan", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_models_of_the_settings_are_planned(home: Path) -> None:
    text = jan(home)
    data = json.loads(jan(home, "--json").stdout)

    assert text.returncode == 0, text.stderr
    assert "SmolLM2-135M-Instruct" in text.stdout
    assert [each["model"] for each in data[0]["instances"]] == ["SmolLM2-135M-Instruct"]
    assert data[0]["instances"][0]["fits"]


def test_models_may_be_named_and_what_does_not_fit_says_why(home: Path, tmp_path: Path) -> None:
    (home / "jan.toml").write_text('[[models]]\nname = "tiny"\ngpus = [5]\n')
    added = [sys.executable, "-m", "jan", "--home", str(home), "model", "add"]
    subprocess.run([*added, str(models.write(tmp_path / "tiny"))], check=True, capture_output=True)

    done = jan(home, "tiny", "absent", "--json")
    odd = jan(home, "../x")

    tiny, absent = json.loads(done.stdout)[0]["instances"]
    assert done.returncode == 1
    assert "GPU" in tiny["reasons"][0]
    assert "not in the node's model store" in absent["reasons"][0]
    assert odd.returncode == 1
    assert "no name of a model" in odd.stderr


def test_it_is_known_whether_a_supervisor_runs(tmp_path: Path) -> None:
    before = lock.is_held(tmp_path)
    with lock.hold(tmp_path):
        during = lock.is_held(tmp_path)

    assert (before, during, lock.is_held(tmp_path)) == (False, True, False)
