"""Installing the service: what is there afterwards, what is refused, and what is not done twice."""

import os
import socket
from pathlib import Path

import pytest

from jan.errors import Misconfigured, Unavailable
from jan.service import install, places, steps
from jan.service.install import Wish
from jan.supervisor import lock
from tests.service.machines import NEWER, FakeMachine

PROGRAM = "/usr/local/bin/jan"


def installed(machine: FakeMachine, wish: Wish, source: Path) -> list[str]:
    """Install, and return what was told."""
    told: list[str] = []
    steps.carry_out(machine, install.steps(machine, wish, source), told.append)
    return told


def test_everything_is_in_its_place(machine: FakeMachine, source: Path, port: int) -> None:
    installed(machine, Wish(port=port), source)

    assert machine.at(PROGRAM).read_bytes() == source.read_bytes()
    modes = {
        path: f"{machine.at(path).stat().st_mode & 0o777:o}"
        for path in (PROGRAM, places.UNIT, places.CONFIG, places.SYSUSERS)
    }
    assert list(modes.values()) == ["755", "644", "640", "644"]
    assert f"ExecStart={PROGRAM} serve\n" in machine.at(places.UNIT).read_text(encoding="utf-8")
    assert f"\nport = {port}\n" in machine.at(places.CONFIG).read_text(encoding="utf-8")
    assert machine.commands == [
        f"systemd-sysusers {places.SYSUSERS}",
        "systemctl enable jan.service",
        "systemctl restart jan.service",
    ]


def test_the_first_settings_are_read_as_they_were_asked_for(machine: FakeMachine) -> None:
    wish = Wish(host="::1", port=443)
    written = next(
        step for step in install.steps(machine, wish, None) if places.CONFIG in str(step)
    )
    machine.put(places.CONFIG, written.text)

    settings = install.planned_settings(machine, wish)

    assert (settings.host, settings.port, str(settings.home)) == ("::1", 443, places.HOME)


def test_what_is_foretold_is_what_is_done(machine: FakeMachine, source: Path, port: int) -> None:
    wish = Wish(port=port)
    foretold = steps.foretell(machine, install.steps(machine, wish, source)).splitlines()

    told = installed(machine, wish, source)

    to_do = [line.removeprefix("to do: ") for line in foretold if line.startswith("to do: ")]
    # systemd reads a unit that it does not know yet without being told to, and this Jan answers
    # without being waited for.
    to_do.remove("run systemctl daemon-reload")
    to_do.remove(f"wait until {url(port)} answers")
    assert [line.removeprefix("done: ") for line in told if line.startswith("done: ")] == to_do


def test_the_second_time_nothing_is_done(machine: FakeMachine, source: Path, port: int) -> None:
    first = installed(machine, Wish(port=port), source)
    machine.commands.clear()

    second = installed(machine, Wish(), source)

    assert [line.partition(": ")[0] for line in second] == ["unchanged"] * len(first)
    assert machine.commands == []


def test_a_newer_executable_takes_the_place_of_the_old_one(
    machine: FakeMachine, source: Path, port: int
) -> None:
    installed(machine, Wish(port=port), source)
    before = machine.at(PROGRAM).stat().st_ino
    source.write_bytes(NEWER)
    machine.commands.clear()

    installed(machine, Wish(), source)

    assert machine.at(PROGRAM).read_bytes() == NEWER
    assert machine.at(PROGRAM).stat().st_ino != before  # a running program is not written to
    assert machine.commands == ["systemctl restart jan.service"]


def test_changed_settings_are_taken_over(machine: FakeMachine, source: Path, port: int) -> None:
    installed(machine, Wish(port=port), source)
    with machine.at(places.CONFIG).open("a", encoding="utf-8") as file:
        file.write("drain_grace_s = 300\n")
    machine.commands.clear()

    installed(machine, Wish(), source)

    assert "\nTimeoutStopSec=390\n" in machine.at(places.UNIT).read_text(encoding="utf-8")
    assert machine.commands == ["systemctl daemon-reload", "systemctl restart jan.service"]


def test_what_was_asked_for_the_first_time_need_not_be_asked_again(
    machine: FakeMachine, source: Path, port: int
) -> None:
    machine.at("/opt/jan").mkdir(parents=True, mode=0o755)
    wish = Wish(port=port, user="llm", executable_dir="/opt/jan")
    installed(machine, wish, source)

    assert installed(machine, Wish(), source)[-1] == f"unchanged: wait until {url(port)} answers"
    assert not machine.at(PROGRAM).exists()
    assert "\nUser=llm\n" in machine.at(places.UNIT).read_text(encoding="utf-8")


def test_an_executable_that_moves_is_not_left_behind(
    machine: FakeMachine, source: Path, port: int
) -> None:
    installed(machine, Wish(port=port), source)

    installed(machine, Wish(executable_dir="/opt/jan"), source)

    assert machine.at("/opt/jan/jan").exists()
    assert not machine.at(PROGRAM).exists()


@pytest.mark.parametrize("killed_at", range(8))
def test_an_installation_that_was_killed_is_finished_by_the_next(
    machine: FakeMachine, source: Path, port: int, killed_at: int
) -> None:
    """Killed after each step in turn, with drafts left of the files that come after it."""
    plan = install.steps(machine, Wish(port=port), source)
    for step in plan[:killed_at]:
        step.carry_out(machine)
    for path in (PROGRAM, places.UNIT, places.CONFIG, places.SYSUSERS):
        if not machine.at(path).exists():
            machine.put(f"{path}.new", "half of it")

    installed(machine, Wish(port=port), source)

    assert all(step.is_done(machine) for step in install.steps(machine, Wish(), source))
    assert list(machine.root.rglob("*.new")) == []


def test_settings_that_are_there_are_kept(machine: FakeMachine, source: Path, port: int) -> None:
    machine.put(places.CONFIG, f"port = {port}\nmodel = 'mine'\n")

    installed(machine, Wish(), source)

    assert "model = 'mine'" in machine.at(places.CONFIG).read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_settings_that_the_service_cant_read_are_opened_to_it(
    machine: FakeMachine, source: Path, port: int
) -> None:
    config = machine.put(places.CONFIG, f"port = {port}\n", 0o600)
    os.chown(config, -1, 12345)

    installed(machine, Wish(), source)

    status = config.stat()
    assert (status.st_gid, status.st_mode & 0o777) == (os.getegid(), 0o640)


def test_settings_of_a_jan_before_are_used(machine: FakeMachine, source: Path, port: int) -> None:
    machine.put(places.CONFIG_OF_HOME, f"port = {port}\n")

    installed(machine, Wish(), source)

    assert not machine.at(places.CONFIG).exists()


def test_settings_that_say_otherwise_are_not_changed(machine: FakeMachine, source: Path) -> None:
    machine.put(places.CONFIG, "port = 9000\n")

    with pytest.raises(Misconfigured, match="`port` is 9000") as refusal:
        install.steps(machine, Wish(port=9001), source)

    assert refusal.value.hint
    assert "port = 9001" in refusal.value.hint


@pytest.mark.parametrize("path", [places.UNIT, places.SYSUSERS])
def test_a_file_that_somebody_else_wrote_is_left_alone(
    machine: FakeMachine, source: Path, path: str
) -> None:
    machine.put(path, "[Service]\nExecStart=/usr/bin/other\n")

    with pytest.raises(Misconfigured, match=f"{path} is there, and Jan did not write it"):
        install.steps(machine, Wish(), source)


def test_another_program_under_our_name_is_left_alone(machine: FakeMachine, source: Path) -> None:
    machine.put(PROGRAM, "#!/bin/sh\n")

    with pytest.raises(Misconfigured, match="is no executable of Jan"):
        install.steps(machine, Wish(), source)


@pytest.mark.parametrize("mode", [0o757, 0o775])
@pytest.mark.parametrize("folder", ["usr", "usr/local/bin"])
def test_a_folder_that_others_write_to_is_refused(
    machine: FakeMachine, source: Path, folder: str, mode: int
) -> None:
    machine.at(folder).chmod(mode)

    with pytest.raises(Misconfigured, match=f"Others than root can write to /{folder},"):
        install.steps(machine, Wish(), source)


def test_a_folder_of_somebody_elses_is_refused_behind_a_link_too(
    machine: FakeMachine, source: Path
) -> None:
    machine.at("/home").mkdir()
    machine.at("/home").chmod(0o777)
    machine.at("/opt").symlink_to("home")

    with pytest.raises(Misconfigured, match="can write to /home,"):
        install.steps(machine, Wish(executable_dir="/opt"), source)


@pytest.mark.parametrize("folder", ["relative", "/a b", "/a/../b", "/%h", "/", "/a\nUser=root"])
def test_a_folder_that_a_unit_reads_otherwise_is_refused(
    machine: FakeMachine, source: Path, folder: str
) -> None:
    with pytest.raises(Misconfigured, match="can't be the folder of the executable"):
        install.steps(machine, Wish(executable_dir=folder), source)


@pytest.mark.parametrize("user", ["root", "", "Jan", "a b", "-x", "x" * 40])
def test_a_user_that_can_be_none_is_refused(machine: FakeMachine, source: Path, user: str) -> None:
    with pytest.raises(Misconfigured, match="can't be the service's user"):
        install.steps(machine, Wish(user=user), source)


def test_a_person_called_jan_is_not_made_a_service(machine: FakeMachine, source: Path) -> None:
    machine.add_user("jan", number=1000, home="/home/jan")

    with pytest.raises(Misconfigured, match="seems to be a person") as refusal:
        install.steps(machine, Wish(), source)

    assert refusal.value.hint
    assert "--user jan-service" in refusal.value.hint


def test_an_executable_that_is_gone_is_told(machine: FakeMachine, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"Can't read .*: No such file"):
        installed(machine, Wish(), tmp_path / "gone")


def test_a_place_that_cant_be_written_is_told(
    machine: FakeMachine, source: Path, port: int
) -> None:
    machine.at("/etc/jan").write_text("a file in place of the folder", encoding="utf-8")

    with pytest.raises(Misconfigured, match=f"Can't write {places.CONFIG}"):
        installed(machine, Wish(port=port), source)


def test_a_service_that_does_not_answer_is_told(
    machine: FakeMachine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "ANSWER_TIMEOUT_S", 0.0)

    with pytest.raises(Unavailable, match="does not answer") as refusal:
        installed(machine, Wish(port=1), source)

    assert refusal.value.hint
    assert "journalctl -u jan" in refusal.value.hint


def test_a_port_that_another_program_has_is_refused(machine: FakeMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = install.planned_settings(machine, Wish(port=other.getsockname()[1]))

        with pytest.raises(Misconfigured, match="another program uses that port"):
            install.require_free(machine, settings)

        machine.run("systemctl", "restart", "jan.service")  # the program is the service itself
        install.require_free(machine, settings)


def test_a_home_that_another_jan_serves_is_refused(machine: FakeMachine) -> None:
    settings = install.planned_settings(machine, Wish())
    with (
        lock.hold(machine.at(places.HOME) / "run"),
        pytest.raises(Misconfigured, match="Another `jan serve` is running on /var/lib/jan"),
    ):
        install.require_free(machine, settings)


def test_who_is_not_root_is_told_of_sudo(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Misconfigured) as refusal:
        machine.require_root("jan service install")

    assert refusal.value.hint == "sudo jan service install"


def test_a_machine_without_systemd_is_refused(machine: FakeMachine) -> None:
    machine.require_systemd()
    machine.at("/run/systemd/system").rmdir()

    with pytest.raises(Misconfigured, match="systemd does not run this machine"):
        machine.require_systemd()


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
