"""What an executable carries is unpacked as it was packed, or not at all."""

import hashlib
import io
import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from backports import zstd

from jan.errors import Misconfigured
from jan.runner import carried, engines, hardware
from jan.runner.bundles import Bundle
from jan.runner.hardware import Hardware
from jan.runner.install import install
from jan.runner.nvml import Gpu
from tests.runner import wheels

PROGRAM = b"\x7fELF and so on"
CONTENT = {
    "vllm/__init__.py": "__version__ = '1.0'\n",
    "vllm-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 1.0\n",
}


def ignore(step: str, share: float | None) -> None:
    """Nobody looks on."""


def packed(content: dict[str, str]) -> bytes:
    """Make a part."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return zstd.compress(plain.getvalue())


@dataclass
class Executable:
    """Stands for a frozen program and the file that it came from."""

    file: Path
    folder: Path

    def write(self, **parts: bytes) -> None:
        """Put parts behind it."""
        self.file.write_bytes(PROGRAM + b"".join(parts.values()))
        rows = [
            {
                "name": name,
                "packed_bytes": len(part),
                "sha256": hashlib.sha256(part).hexdigest(),
            }
            for name, part in parts.items()
        ]
        (self.folder / carried.LIST).write_text(json.dumps(rows))


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executable:
    """One that carries nothing yet."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    file = tmp_path / "jan"
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(folder), raising=False)
    monkeypatch.setenv("JAN_EXECUTABLE", str(file))
    made = Executable(file, folder)
    made.write()
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """An engine that can be had from nowhere else."""
    return wheels.lock(tmp_path, wheels.build(tmp_path, "vllm", files=wheels.VLLM))


async def unpack(name: str, folder: Path) -> None:
    part = carried.find(name)
    assert part is not None
    await carried.unpack(part, folder, ignore, "Unpacking")


async def test_each_part_is_found(executable: Executable, tmp_path: Path) -> None:
    executable.write(first=packed({"a/b": "1"}), second=packed({"c": "2"}), third=packed({}))

    await unpack("first", tmp_path / "one")
    await unpack("second", tmp_path / "two")
    await unpack("third", tmp_path / "three")

    assert (tmp_path / "one/a/b").read_text() == "1"
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["c"]
    assert carried.find("fourth") is None


def test_a_checkout_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAN_EXECUTABLE", "/usr/local/bin/jan")

    assert carried.parts() == []


async def test_it_becomes_an_engine_once(
    home: Path, executable: Executable, bundle: Bundle
) -> None:
    executable.write(tiny=packed(CONTENT))
    steps: list[str] = []

    engine = await install(home, bundle, lambda step, _: steps.append(step))
    executable.file.unlink()

    assert steps[0] == "Unpacking the engine"
    assert engine == engines.find(home, bundle)
    assert (engine.folder / "vllm/__init__.py").exists()
    assert await install(home, bundle, ignore) == engine


async def test_what_is_damaged_is_refused_and_leaves_no_engine(
    home: Path, executable: Executable, bundle: Bundle
) -> None:
    part = packed(CONTENT)
    whole = {"turned": bytes([*part[:-6], part[-6] ^ 1, *part[-5:]]), "short": part[:-1], "": b""}
    for damaged in whole.values():
        executable.write(tiny=part)
        executable.file.write_bytes(PROGRAM + damaged)

        with pytest.raises(Misconfigured, match="is damaged"):
            await install(home, bundle, ignore)

        assert engines.installed(home) == []
    executable.write(tiny=part)
    assert await install(home, bundle, ignore)


async def test_another_file_under_its_name_is_refused(
    home: Path, executable: Executable, bundle: Bundle
) -> None:
    executable.write(tiny=packed(CONTENT))
    executable.file.write_bytes(PROGRAM + packed({**CONTENT, "vllm/evil.py": ""}))

    with pytest.raises(Misconfigured, match="replaced"):
        await install(home, bundle, ignore)

    assert engines.installed(home) == []


async def test_a_file_that_is_gone_is_named(
    home: Path, executable: Executable, bundle: Bundle
) -> None:
    executable.write(tiny=packed(CONTENT))
    executable.file.unlink()

    with pytest.raises(Misconfigured, match=str(executable.file)):
        await install(home, bundle, ignore)


async def test_nothing_is_written_outside(executable: Executable, tmp_path: Path) -> None:
    executable.write(tiny=packed({"../outside": "x"}))

    with pytest.raises(Misconfigured, match="damaged"):
        await unpack("tiny", tmp_path / "inside")

    assert not (tmp_path / "outside").exists()


async def test_it_stops_when_told(executable: Executable, tmp_path: Path) -> None:
    executable.write(tiny=packed({str(number): "x" for number in range(2000)}))
    folder = tmp_path / "folder"

    with anyio.CancelScope() as scope:
        part = carried.find("tiny")
        assert part is not None
        await carried.unpack(part, folder, lambda *_: scope.cancel(), "Unpacking")

    assert scope.cancelled_caught
    assert len(list(folder.iterdir())) < 2000


def test_the_engine_at_hand_is_chosen_for_whoever_chose_none(
    executable: Executable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(index=0, name="A GPU")
    found = Hardware("cuda", "a GPU", (gpu,))
    monkeypatch.setattr(hardware, "detect", lambda **_: found)
    executable.write(cpu=packed({}))

    assert hardware.chosen("auto").variant == "cpu"
    assert "carries the cpu engine" in hardware.chosen("auto").reason
    assert hardware.chosen("cuda") == found
    executable.write(cuda=packed({}))
    assert hardware.chosen("auto") == found
