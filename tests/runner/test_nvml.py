"""What is read of GPUs, with a library in place of NVIDIA's. No real card was tried."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from jan.runner import memory
from jan.runner.hardware import Hardware, detect

CODE = """
import msgspec, sys
from jan.runner import hardware
sys.stdout.buffer.write(msgspec.json.encode(hardware.detect(own=[4242])))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile it, and return its folder."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml.c")
    argv = [compiler, "-w", "-shared", "-fPIC", source, "-o", folder / "libnvidia-ml.so.1"]
    subprocess.run(argv, check=True)
    return folder


def seen(library: Path, **environ: str) -> Hardware:
    """Look in a process of its own: a library is loaded once."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(library), **environ}
    done = subprocess.run([sys.executable, "-c", CODE], env=env, check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=Hardware)


def test_each_fact_is_told_or_none(library: Path) -> None:
    found = seen(library)

    first, second = found.gpus
    assert (found.variant, found.driver, found.cuda) == ("cuda", "580.126.09", "13.1")
    assert found.reason == "NVIDIA H100 80GB HBM3 (85.9 GB), NVIDIA GB10"
    assert (first.index, first.uuid, first.capability) == (0, "GPU-11112222-0000", "9.0")
    assert (first.total_bytes, first.used_bytes) == (85_899_345_920, 5_000_000_000)
    assert (first.utilisation, first.power_watts, first.power_limit_watts) == (37, 123.4, 700.0)
    assert first.others_bytes == 3_000_000_000
    assert [use.pid for use in first.uses] == [4242, 77]
    assert (second.name, second.total_bytes, second.utilisation) == ("NVIDIA GB10", None, None)
    assert (second.others_bytes, second.is_divided) == (None, False)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("1", [1]), ("GPU-1111", [0]), ("1,0", [0, 1]), ("0,9,1", [0]), ("", []), ("GPU-", [])],
)
def test_what_the_environment_hides_is_not_there(
    library: Path, said: str, expected: list[int]
) -> None:
    found = seen(library, CUDA_VISIBLE_DEVICES=said)

    assert [gpu.index for gpu in found.gpus] == expected
    if not expected:
        assert found.reason == "CUDA_VISIBLE_DEVICES hides all of its GPUs"
        assert not found.is_broken


def test_a_driver_that_does_not_work_is_told(library: Path) -> None:
    broken = seen(library, NVML_STATE="broken")
    empty = seen(library, NVML_STATE="none")

    assert (broken.variant, broken.is_broken) == ("cpu", True)
    assert broken.reason.startswith("the NVIDIA driver does not work: ")
    assert (empty.variant, empty.reason) == ("cpu", "the NVIDIA driver sees no GPU")


def test_a_machine_without_a_driver_has_memory_and_processors() -> None:
    found = detect(environ={})

    assert found.cpus
    assert found.memory_bytes
    assert found.free_memory_bytes
    assert found.free_memory_bytes <= found.memory_bytes


def test_memory_is_what_the_cgroup_leaves(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000 kB\nMemAvailable: 32000 kB\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    unbound = (memory.total_bytes(tmp_path), memory.free_bytes(tmp_path))
    (group / "memory.max").write_text("8192000\n")
    (group / "memory.current").write_text("2048000\n")

    bound = (memory.total_bytes(tmp_path), memory.free_bytes(tmp_path))

    assert unbound == (65_536_000, 32_768_000)
    assert bound == (8_192_000, 6_144_000)


def test_an_engine_for_cpus_gets_the_memory_of_the_first_node(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000 kB\nMemAvailable: 32000 kB\n")
    for number in range(2):
        node = tmp_path / memory.NODES / f"node{number}"
        node.mkdir(parents=True)
        (node / "meminfo").write_text(
            "Node 0 MemTotal: 16000 kB\nNode 0 MemFree: 1000 kB\nNode 0 Active(file): 500 kB\n"
        )

    assert memory.memory_nodes(tmp_path) == 2
    assert memory.total_bytes(tmp_path) == 16_384_000
    assert memory.free_bytes(tmp_path) == 1_536_000


def test_a_system_that_tells_nothing_has_unknown_memory(tmp_path: Path) -> None:
    assert memory.total_bytes(tmp_path) is None
    assert memory.free_bytes(tmp_path) is None
