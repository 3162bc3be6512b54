"""What a tree of processes has used so far, PostgreSQL's part apart."""

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cpu:
    """User and system time since the tree began, processes that have ended included."""

    program_s: float
    database_s: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.program_s - earlier.program_s, self.database_s - earlier.database_s)


@dataclass(frozen=True)
class Memory:
    """Resident memory without PostgreSQL's."""

    worker_mb: float
    """Of the largest process: the one that does the work."""
    worker_peak_mb: float
    """The most that this process ever had."""
    total_mb: float
    """Of the whole tree, shared pages counted once for each process."""


def cpu(root: psutil.Process) -> Cpu:
    """Read the times of the tree below and with `root`."""
    spent = {True: 0.0, False: 0.0}
    for process in _tree(root):
        try:
            times = process.cpu_times()
            spent[_is_database(process)] += (
                # The last two are of children that were waited for, so gone from the tree.
                times.user + times.system + times.children_user + times.children_system
            )
        except psutil.NoSuchProcess:
            continue
    return Cpu(spent[False], spent[True])


def memory(root: psutil.Process) -> Memory:
    """Read the resident memory of the tree below and with `root`."""
    sizes = [_rss_mb(process) for process in _tree(root) if not _is_database(process)]
    worker_mb, worker_peak_mb = max(sizes)
    return Memory(worker_mb, worker_peak_mb, sum(now_mb for now_mb, _ in sizes))


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _is_database(process: psutil.Process) -> bool:
    return process.name().startswith("postgres")


def _rss_mb(process: psutil.Process) -> tuple[float, float]:
    """Resident memory now, and at its peak, which only Linux's own file tells."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if name in {"VmRSS", "VmHWM"}
    }
    return kib.get("VmRSS", 0) / 1024, kib.get("VmHWM", 0) / 1024
