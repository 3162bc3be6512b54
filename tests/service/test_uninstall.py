"""Taking the service away: what goes, and what stays."""

from pathlib import Path

import pytest

from jan.errors import Misconfigured
from jan.service import install, places, steps, uninstall
from jan.service.install import Wish
from tests.service.machines import FakeMachine

PROGRAM = "/usr/local/bin/jan"


@pytest.fixture
def installed(machine: FakeMachine, source: Path, port: int) -> FakeMachine:
    steps.carry_out(machine, install.steps(machine, Wish(port=port), source), lambda _: None)
    machine.put(f"{places.HOME}/secrets.toml", "")
    machine.put(f"{places.CACHE}/unpacked", "")
    machine.commands.clear()
    return machine


def removed(machine: FakeMachine) -> bool:
    return steps.carry_out(machine, uninstall.steps(machine), lambda _: None)


def test_the_service_goes_and_its_data_stays(installed: FakeMachine) -> None:
    assert removed(installed)

    gone = (places.UNIT, PROGRAM, places.SYSUSERS, places.CACHE)
    assert [path for path in gone if installed.at(path).exists()] == []
    assert installed.at(f"{places.HOME}/secrets.toml").exists()
    assert installed.at(places.CONFIG).exists()
    assert installed.user("jan")
    assert installed.commands[0] == "systemctl disable --now jan.service"


def test_the_second_time_there_is_nothing_to_do(installed: FakeMachine) -> None:
    removed(installed)
    installed.commands.clear()

    assert not removed(installed)
    assert installed.commands == []


def test_where_there_is_no_service_an_executable_stays(machine: FakeMachine, source: Path) -> None:
    machine.at(PROGRAM).write_bytes(source.read_bytes())

    assert not removed(machine)
    assert machine.at(PROGRAM).exists()


@pytest.mark.parametrize("killed_at", range(6))
def test_what_was_killed_is_finished_by_the_next(installed: FakeMachine, killed_at: int) -> None:
    for step in uninstall.steps(installed)[:killed_at]:
        if not step.is_done(installed):
            step.carry_out(installed)

    removed(installed)

    assert not installed.at(PROGRAM).exists()
    assert not removed(installed)


def test_a_service_that_failed_goes_too(installed: FakeMachine) -> None:
    installed.systemd.update(ActiveState="failed", UnitFileState="disabled")

    removed(installed)

    assert "systemctl reset-failed jan.service" in installed.commands
    assert not removed(installed)


def test_a_unit_of_somebody_elses_is_left_alone(machine: FakeMachine) -> None:
    unit = machine.put(places.UNIT, "[Service]\nExecStart=/usr/bin/other\n")

    with pytest.raises(Misconfigured, match="Jan did not write it"):
        uninstall.steps(machine)

    assert unit.exists()


def test_a_program_of_somebody_elses_stays(installed: FakeMachine) -> None:
    installed.put(PROGRAM, "#!/bin/sh\n")

    removed(installed)

    assert installed.at(PROGRAM).exists()
