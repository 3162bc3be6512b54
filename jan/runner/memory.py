"""Memory for processes here: of the machine, of its first memory node and of our cgroup.

The engine for CPUs puts a model on one memory node.
"""

import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path("/")
NODES = "sys/devices/system/node"
CGROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and use, of version 2 and of 1. The use has files that were read once, which the kernel
would give back: vLLM counts them too, and refuses a cache that does not fit beside them."""


def total_bytes(root: Path = ROOT) -> int | None:
    """All that there is for us. None where the system does not tell."""
    return _least(root, _machine("MemTotal"), _node("MemTotal"), _limit)


def free_bytes(root: Path = ROOT) -> int | None:
    """What a new process may take. None where the system does not tell."""
    return _least(
        root,
        _machine("MemAvailable"),
        _node("MemFree", "Active(file)", "Inactive(file)"),
        _left,
    )


def memory_nodes(root: Path = ROOT) -> int:
    """How many memory nodes there are."""
    return len(list((root / NODES).glob("node[0-9]*")))


def _least(root: Path, *sources: Callable[[Path], int | None]) -> int | None:
    amounts: list[int] = []
    for source in sources:
        try:
            amount = source(root)
        except (OSError, ValueError):
            continue
        if amount is not None:
            amounts.append(max(0, amount))
    return min(amounts, default=None)


def _machine(*names: str) -> Callable[[Path], int | None]:
    return lambda root: _meminfo(root / "proc/meminfo", *names)


def _node(*names: str) -> Callable[[Path], int | None]:
    return lambda root: _meminfo(root / NODES / "node0/meminfo", *names)


def _meminfo(path: Path, *names: str) -> int:
    amounts = dict(re.findall(r"(\S+):\s+(\d+) kB", path.read_text(encoding="utf-8")))
    if names[0] not in amounts:
        raise ValueError(f"{path} does not tell {names[0]}")
    return sum(int(amounts.get(name, 0)) * 1024 for name in names)


def _limit(root: Path) -> int | None:
    limits = [limit for limit, _ in _cgroups(root)]
    return min(limits, default=None)


def _left(root: Path) -> int | None:
    return min((limit - used for limit, used in _cgroups(root)), default=None)


def _cgroups(root: Path) -> list[tuple[int, int]]:
    folder = root / "sys/fs/cgroup"
    return [
        (int(most), int((folder / used).read_text()))
        for limit, used in CGROUPS
        if (folder / limit).exists() and (most := (folder / limit).read_text().strip()) != "max"
    ]
