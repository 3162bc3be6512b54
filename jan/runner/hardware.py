"""What the machine can run an engine on, asked of NVIDIA's management library (NVML)."""

from dataclasses import dataclass
from typing import Literal

import pynvml

Variant = Literal["cpu", "cuda"]

_NoDriver = pynvml.nvmlExceptionClass(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


@dataclass(frozen=True)
class Hardware:
    """What was found, and which engine follows from it."""

    variant: Variant
    reason: str
    """Why that variant, in words for the operator."""
    gpus: tuple[str, ...] = ()
    is_broken: bool = False
    """Whether there is a driver that does not work: somebody means to use a GPU."""


def detect() -> Hardware:
    """Look for NVIDIA GPUs. What can't be used counts as absent, with the reason."""
    try:
        pynvml.nvmlInit()
    except _NoDriver:
        return Hardware("cpu", "no NVIDIA driver is installed")
    except pynvml.NVMLError as error:
        return Hardware("cpu", f"the NVIDIA driver does not work: {error}", is_broken=True)
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        gpus = tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
    except pynvml.NVMLError as error:
        return Hardware("cpu", f"the NVIDIA driver does not work: {error}", is_broken=True)
    finally:
        pynvml.nvmlShutdown()
    if not gpus:
        return Hardware("cpu", "the NVIDIA driver sees no GPU")
    return Hardware("cuda", ", ".join(gpus), gpus)
