"""The unit: what it says, and what systemd itself thinks of it."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jan.service import unit
from jan.settings import Settings

EXPOSURE = 25
"""systemd's measure, times ten: 0 is shut in, 100 is free. What is left open the unit explains."""

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine"
)


def _rendered(**values: object) -> str:
    settings = Settings.model_validate(values)
    # Names that exist on this machine: the real ones are made at installation.
    user = pwd.getpwuid(os.geteuid()).pw_name
    return unit.render(settings, executable="/bin/true", user=user)


def _analyze(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "jan.service"
    path.write_text(text, encoding="utf-8")
    argv = ["systemd-analyze", *arguments, str(path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
@pytest.mark.parametrize("port", [80, 8080])
def test_systemd_understands_every_line(tmp_path: Path, port: int) -> None:
    said = _analyze(tmp_path, _rendered(port=port), "verify")

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("port", [80, 8080])
def test_systemd_calls_it_hardened(tmp_path: Path, port: int) -> None:
    said = _analyze(
        tmp_path, _rendered(port=port), "security", "--offline=true", f"--threshold={EXPOSURE}"
    )

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(("port", "capability"), [(1023, "CAP_NET_BIND_SERVICE"), (1024, "")])
def test_only_a_low_port_needs_a_capability(port: int, capability: str) -> None:
    text = _rendered(port=port)

    assert f"\nAmbientCapabilities={capability}\n" in text
    assert f"\nCapabilityBoundingSet={capability}\n" in text


def test_systemd_waits_for_longer_than_jan_may_take() -> None:
    short, long = (unit.stop_timeout_s(Settings(drain_grace_s=value)) for value in (0, 600))

    assert short > 30
    assert long == short + 600
    assert f"\nTimeoutStopSec={long:.0f}\n" in _rendered(drain_grace_s=600)


def test_nothing_keeps_gpus_and_compilers_from_working() -> None:
    directives = dict(re.findall(r"^(\w+)=(.*)$", _rendered(), re.MULTILINE))

    assert {"PrivateDevices", "DevicePolicy", "MemoryDenyWriteExecute"}.isdisjoint(directives)
    assert directives["OOMPolicy"] == "continue"
    assert directives["LimitMEMLOCK"] == "infinity"


def test_what_we_wrote_is_known_by_its_beginning() -> None:
    assert _rendered().startswith(unit.MARK)
