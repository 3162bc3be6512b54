"""`jan service` from a checkout, which can't be installed but can tell what would be done."""

from pathlib import Path

import pytest

from tests.cli.test_main import jan


def test_a_checkout_is_not_installed(home: Path) -> None:
    run = jan(home, "service", "install")

    assert (run.returncode, run.stdout) == (1, "")
    assert "error: This Jan is a checkout" in run.stderr
    assert "just bundle" in run.stderr


def test_what_would_be_done_is_told_anywhere(home: Path) -> None:
    run = jan(home, "service", "install", "--dry-run", "--executable-dir", "/opt/nowhere")

    assert run.returncode == 0, run.stderr
    assert "copy the executable to /opt/nowhere/jan (0755)" in run.stdout
    assert "\n    ExecStart=/opt/nowhere/jan serve\n" in run.stdout
    assert "run systemctl restart jan.service" in run.stdout


def test_so_is_what_would_be_removed(home: Path) -> None:
    run = jan(home, "service", "uninstall", "--dry-run")

    assert run.returncode == 0, run.stderr
    assert "run systemctl disable --now jan.service" in run.stdout


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(home: Path, port: str) -> None:
    run = jan(home, "service", "install", "--dry-run", "--port", port)

    assert (run.returncode, run.stdout) == (2, "")
    assert "--port" in run.stderr


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs this machine")
def test_a_machine_without_systemd_has_no_services(home: Path) -> None:
    run = jan(home, "service", "status")

    assert (run.returncode, run.stdout) == (1, "")
    assert "systemd does not run this machine" in run.stderr
