"""What is to run, and what a plan makes of it: the words in which supervisor and plan speak."""

from dataclasses import dataclass, field

import msgspec

from jan.runner.needs import Facts


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Where one instance runs."""

    gpus: tuple[int, ...] = ()
    """Numbers of its GPUs. None: the processor."""
    devices: tuple[str, ...] = ()
    """The same by UUID, as far as they have one."""
    memory_fraction: float | None = None
    """Of each of them. None: as vLLM has it by itself."""
    kv_cache_bytes: int | None = None
    """On the processor: how much becomes cache. None: as the operator's options say."""
    memory_bytes: int = 0
    """What it takes: of each GPU, of the smallest if they differ; or of the machine."""
    cpus: tuple[int, ...] = ()
    """Processors that it computes on. None: all, for it is alone."""
    tensor_parallel: int = 1
    max_running: int = 1
    """How many requests it works on at a time."""
    reasons: tuple[str, ...] = ()
    """In words."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One instance that is to run."""

    key: str
    """By which it is found in the plan; no two are alike."""
    model: str
    facts: Facts | None
    """Of the model. None: it is not in the store, so nothing is known of it."""
    gpus: tuple[int, ...] | None = None
    """Those that it may use. None: all."""
    memory_fraction: float | None = None
    tensor_parallel: int = 1
    engine_args: str = ""
    running: Assignment | None = None
    """Where it runs. It stays there."""
    replaces: str | None = None
    """Key of the instance that ends when this one is up. Until then there is memory for both, but
    it gets the other's processors."""


@dataclass(frozen=True)
class Plan:
    """What fits, and what does not."""

    placed: dict[str, Assignment] = field(default_factory=dict[str, Assignment])
    """By key, in the order of the wishes."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Why an instance does not fit, in words."""
