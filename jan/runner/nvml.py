"""NVIDIA GPUs, as NVIDIA's management library (NVML) tells of them.

Each fact is asked for alone: a card, a driver or a virtual machine may lack any of them, and then
it is None.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pynvml

from jan.runner import sizes

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NoDriver = pynvml.nvmlExceptionClass(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


class Use(msgspec.Struct, frozen=True):
    """A process on a GPU."""

    pid: int
    """In the numbering of the driver, which in a container may not be ours."""
    used_bytes: int | None


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU."""

    index: int
    """Its number, as `nvidia-smi` has it."""
    name: str
    uuid: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    """By anybody, and by the driver itself."""
    free_bytes: int | None = None
    others_bytes: int | None = None
    """Used by processes that are not Jan's engines. None: it can't be told apart."""
    utilisation: int | None = None
    """Per cent of the last moments in which it computed."""
    power_watts: float | None = None
    power_limit_watts: float | None = None
    capability: str | None = None
    """Its compute capability, such as `9.0`."""
    is_divided: bool = False
    """Whether it is in MIG mode: programs can use its parts only, not the whole."""
    uses: tuple[Use, ...] = ()

    def __str__(self) -> str:
        """Say what it is, as `NVIDIA H100 80GB HBM3 (85.0 GB)`."""
        if self.total_bytes is None:
            return self.name
        return f"{self.name} ({sizes.in_words(self.total_bytes)})"


@dataclass(frozen=True)
class Found:
    """What the library told."""

    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None
    """Why there is none."""
    is_broken: bool = False
    driver: str | None = None
    cuda: str | None = None


def read(own: Collection[int], environ: Mapping[str, str]) -> Found:
    """Ask for all GPUs that programs of this environment may use."""
    try:
        pynvml.nvmlInit()
    except _NoDriver:
        return Found(trouble="no NVIDIA driver is installed")
    except pynvml.NVMLError as error:
        return Found(trouble=f"the NVIDIA driver does not work: {error}", is_broken=True)
    try:
        return _found(own, environ)
    except pynvml.NVMLError as error:
        return Found(trouble=f"the NVIDIA driver does not work: {error}", is_broken=True)
    finally:
        _asked(pynvml.nvmlShutdown)


def _found(own: Collection[int], environ: Mapping[str, str]) -> Found:
    driver = _asked(pynvml.nvmlSystemGetDriverVersion)
    version = _asked(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    cuda = None if version is None else f"{version // 1000}.{version % 1000 // 10}"
    count = pynvml.nvmlDeviceGetCount()
    gpus: list[Gpu] = []
    trouble = "the NVIDIA driver sees no GPU"
    is_broken = False
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:  # one that fell off the bus; the others go on
            trouble, is_broken = f"GPU {index} does not work: {error}", True
        else:
            gpus.append(_gpu(index, handle, own))
    visible = _visible(gpus, environ.get(VISIBLE))
    if gpus and not visible:
        trouble, is_broken = f"{VISIBLE} hides all of its GPUs", False
    return Found(visible, None if visible else trouble, is_broken and not visible, driver, cuda)


def _gpu(index: int, handle: Any, own: Collection[int]) -> Gpu:
    memory = _asked(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _asked(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _asked(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit = _asked(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    capability = _asked(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    mode = _asked(pynvml.nvmlDeviceGetMigMode, handle)
    processes = _asked(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    uses = tuple(Use(int(p.pid), p.usedGpuMemory) for p in processes or ())
    foreign = [use.used_bytes for use in uses if use.pid not in own]
    is_told = processes is not None and None not in foreign
    return Gpu(
        index=index,
        name=_asked(pynvml.nvmlDeviceGetName, handle) or "NVIDIA GPU",
        uuid=_asked(pynvml.nvmlDeviceGetUUID, handle),
        total_bytes=int(memory.total) if memory else None,
        used_bytes=int(memory.used) if memory else None,
        free_bytes=int(memory.free) if memory else None,
        others_bytes=sum(used for used in foreign if used) if is_told else None,
        utilisation=int(rates.gpu) if rates else None,
        power_watts=None if power is None else power / 1000,
        power_limit_watts=None if limit is None else limit / 1000,
        capability=".".join(map(str, capability)) if capability else None,
        is_divided=bool(mode and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
        uses=uses,
    )


def _visible(gpus: Sequence[Gpu], said: str | None) -> tuple[Gpu, ...]:
    """The GPUs that the variable names, by number or the beginning of a UUID. Unset: all.

    Source: https://docs.nvidia.com/cuda/cuda-programming-guide/ (the first that is not there ends
    the list).
    """
    if said is None:
        return tuple(gpus)
    visible: list[Gpu] = []
    for word in map(str.strip, said.split(",")):
        matches = [gpu for gpu in gpus if _is_named(gpu, word)]
        if len(matches) != 1 or matches[0] in visible:
            break
        visible += matches
    return tuple(sorted(visible, key=lambda gpu: gpu.index))


def _is_named(gpu: Gpu, word: str) -> bool:
    if word.isdecimal():
        return gpu.index == int(word)
    return bool(word and gpu.uuid and gpu.uuid.startswith(word))


def _asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the library answers. None if it can't."""
    try:
        return function(*arguments)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeDecodeError):
        return None
