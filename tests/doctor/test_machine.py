"""What is found out about the machine."""

from pathlib import Path

import pytest

from jan import settings
from jan.doctor import machine
from jan.runner import hardware
from jan.runner.hardware import Hardware
from jan.runner.nvml import Gpu

CARD = Gpu(index=0, name="NVIDIA H100", total_bytes=80 * 10**9)
DIVIDED = Gpu(index=1, name="NVIDIA A100", total_bytes=40 * 10**9, is_divided=True)


@pytest.mark.parametrize(
    ("gpus", "level", "words"),
    [
        ((CARD,), "ok", "NVIDIA H100 (80.0 GB); driver 580.126.09, CUDA 13.1"),
        ((CARD, DIVIDED), "warning", "Jan does not use divided ones: 1"),
        ((), "ok", "none: no NVIDIA driver is installed"),
    ],
)
async def test_gpus_are_told_with_memory_and_driver(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: tuple[Gpu, ...],
    level: str,
    words: str,
) -> None:
    reason = ", ".join(map(str, gpus)) or "no NVIDIA driver is installed"
    found = Hardware("cuda", reason, gpus, driver="580.126.09", cuda="13.1")
    monkeypatch.setattr(hardware, "detect", lambda: found)

    finding = await machine.gpu(settings.load({"home": home}, environ={}))

    assert finding.level == level
    assert words in finding.message
