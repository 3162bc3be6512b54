"""An executable that carries an engine, on a machine that has nothing else, not even a network.

Collected only when it is named: `just try-bundle` builds the executable, which takes minutes.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jan.runner import demonstration
from tests.frozen.conftest import ROOT, Machine, bare_machine, run

pytestmark = pytest.mark.timeout(900)

EXECUTABLE = ROOT / "dist" / "cpu" / "jan"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One on which the executable was never run."""
    with bare_machine(EXECUTABLE) as machine:
        yield machine


def offline(machine: Machine, *arguments: str) -> tuple[int, str, str]:
    """Run a command where there is no network but the machine's own."""
    argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    said = run([*argv, *machine.command(*arguments)], timeout_s=300)
    return said.returncode, said.stdout, said.stderr


def test_it_answers_a_chat_by_its_own_engine(machine: Machine) -> None:
    status, said, words = offline(machine, "self-check", "--json")
    findings = {each["subject"]: each["message"] for each in json.loads(said)}

    assert status == 0, said + words
    assert f"{demonstration.NAME} said" in findings["chat"]
    assert "Unpacking the engine" in words


def test_it_unpacks_the_engine_once(machine: Machine) -> None:
    (marker,) = machine.jan_home.glob("engines/*/engine.json")
    made = marker.stat().st_mtime_ns

    status, said, words = offline(machine, "engine", "install")

    assert (status, said) == (0, "")
    assert "is installed in" in words
    assert marker.stat().st_mtime_ns == made
    assert list((machine.jan_home / "engines").glob("*/")) == [marker.parent]


def test_what_it_carries_is_told(machine: Machine) -> None:
    doctor = json.loads(offline(machine, "doctor", "--json")[1])
    (engine,) = [each for each in doctor if each["subject"] == "engine"]

    assert engine["level"] == "ok", engine


def test_a_file_that_was_cut_short_is_refused(machine: Machine, tmp_path: Path) -> None:
    short = tmp_path / "jan"
    shutil.copy(EXECUTABLE, short)
    with short.open("r+b") as file:
        file.truncate(short.stat().st_size - 1000)
    environ = {"JAN_HOME": str(tmp_path / "home"), "JAN_CACHE": str(tmp_path / "cache")}

    said = run([short, "engine", "install", "cpu"], environ)

    assert said.returncode == 1
    assert "is damaged" in said.stderr
    assert not list(tmp_path.glob("home/engines/*/engine.json"))
