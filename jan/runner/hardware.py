"""What the machine has to run engines on: NVIDIA GPUs, memory, processors.

It is looked at again for every plan, and kept as JSON in `node.hardware` for those who plan from
elsewhere. What can't be found out is None: looking never fails.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from jan.runner import carried, memory, nvml
from jan.runner.nvml import Gpu
from jan.sources import inherited

Variant = Literal["cpu", "cuda"]

PROCESSORS = Path("/sys/devices/system/cpu")


class Hardware(msgspec.Struct, frozen=True):
    """What was found, and which engine follows from it."""

    variant: Variant
    reason: str
    """Why that variant, in words for the operator."""
    gpus: tuple[Gpu, ...] = ()
    is_broken: bool = False
    """Whether there is a driver that does not work: somebody means to use a GPU."""
    driver: str | None = None
    """Version of the NVIDIA driver."""
    cuda: str | None = None
    """Newest CUDA version that it can do."""
    memory_bytes: int | None = None
    """What processes here may take in all, by the machine and by our cgroup."""
    free_memory_bytes: int | None = None
    """What a new process may take of it."""
    cpus: tuple[int, ...] = ()
    """Numbers of the processors that we may use, one for each core: threads that share a core
    hold each other up."""


def chosen(said: Literal["auto", "cpu", "cuda"], *, own: Collection[int] = ()) -> Hardware:
    """Look, and choose the engine: the one that the setting says, or that suits what was found.

    The CPU's engine runs everywhere: where it is at hand in the executable, none is fetched.
    """
    found = detect(own=own)
    variant, reason = said, f"the setting `engine` is {said}"
    if said == "auto":
        carries_cpu = carried.find("cpu") and not carried.find(found.variant)
        variant = "cpu" if carries_cpu else found.variant
        reason = "this file carries the cpu engine; the setting `engine` chooses another"
    if variant == found.variant:
        return found
    return msgspec.structs.replace(found, variant=variant, reason=reason)


def detect(*, own: Collection[int] = (), environ: Mapping[str, str] | None = None) -> Hardware:
    """Look. Processes of `own` are Jan's engines: their memory is not told as others'.

    GPUs that `CUDA_VISIBLE_DEVICES` hides are not there. What can't be used counts as absent, with
    the reason.
    """
    found = nvml.read(own, inherited(environ))
    return Hardware(
        variant="cuda" if found.gpus else "cpu",
        reason=found.trouble or ", ".join(map(str, found.gpus)),
        gpus=found.gpus,
        is_broken=found.is_broken,
        driver=found.driver,
        cuda=found.cuda,
        memory_bytes=memory.total_bytes(),
        free_memory_bytes=memory.free_bytes(),
        cpus=_cores(),
    )


def _cores() -> tuple[int, ...]:
    """Of the processors that we may use, the first of each core."""
    chosen: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        try:
            siblings = (PROCESSORS / f"cpu{number}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(number)
        chosen.setdefault(siblings, number)
    return tuple(chosen.values())
