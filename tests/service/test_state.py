"""How the service is, told from what systemd says and whether it answers."""

from pathlib import Path

from jan import clock
from jan.service import install, places, state, steps
from jan.service.install import Wish
from tests.service.machines import NEWER, FakeMachine


def _install(machine: FakeMachine, source: Path, port: int) -> None:
    steps.carry_out(machine, install.steps(machine, Wish(port=port), source), lambda _: None)


def test_a_service_that_runs_is_described(machine: FakeMachine, source: Path, port: int) -> None:
    _install(machine, source, port)
    machine.systemd.update(NRestarts="3", MemoryCurrent="1048576")

    found = state.look(machine, source)

    assert (found.is_installed, found.is_running, found.is_enabled) == (True, True, True)
    assert (found.pid, found.restarts, found.memory_bytes) == (4711, 3, 1048576)
    assert (found.executable, found.version) == ("/usr/local/bin/jan", "0.1.0")
    assert (found.is_this, found.user) == (True, "jan")
    assert (found.livez, found.readyz) == (True, False)
    assert found.since
    assert abs((clock.now() - found.since).total_seconds()) < 60


def test_another_executable_than_this_one_is_told(
    machine: FakeMachine, source: Path, port: int
) -> None:
    _install(machine, source, port)
    machine.at("/usr/local/bin/jan").write_bytes(NEWER)

    found = state.look(machine, source)

    assert (found.version, found.is_this) == ("0.2.0", False)
    assert state.look(machine, None).is_this is None


def test_without_a_service_there_is_little_to_say(machine: FakeMachine, source: Path) -> None:
    found = state.look(machine, source)

    assert (found.is_installed, found.is_running, found.livez) == (False, False, False)


def test_a_service_that_comes_and_goes_does_not_run(
    machine: FakeMachine, source: Path, port: int
) -> None:
    _install(machine, source, port)
    machine.systemd.update(ActiveState="activating", SubState="auto-restart", MainPID="0")

    found = state.look(machine, source)

    assert (found.is_running, found.pid, found.since) == (False, None, None)
    assert found.livez is False  # whatever answers at its address


def test_memory_that_nobody_counts_is_not_known(
    machine: FakeMachine, source: Path, port: int
) -> None:
    _install(machine, source, port)

    for words in ("[not set]", str(2**64 - 1), ""):
        machine.systemd["MemoryCurrent"] = words
        assert state.look(machine, source).memory_bytes is None


def test_settings_that_cant_be_read_leave_open_whether_it_answers(
    machine: FakeMachine, source: Path, port: int
) -> None:
    _install(machine, source, port)
    machine.put(places.CONFIG, "no TOML")

    found = state.look(machine, source)

    assert (found.url, found.livez, found.readyz) == (None, None, None)
