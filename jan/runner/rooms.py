"""GPUs while a plan is made: what is left of each, and who is on it."""

from dataclasses import dataclass, field

from jan.runner import sizes
from jan.runner.nvml import Gpu

MiB = 2**20
THOUSAND = 1000
CONTEXT_BYTES = 512 * MiB
"""What CUDA takes on a GPU for a process, beside the fraction that vLLM was told."""
RESERVE_BYTES = 256 * MiB
"""Left alone on each GPU that Jan fills: the driver's own use goes up and down."""


@dataclass
class Room:
    """One GPU."""

    gpu: Gpu
    foreign_bytes: int = 0
    """Used by others than Jan's engines."""
    taken: dict[str, int] = field(default_factory=dict[str, int])
    """Bytes of each instance, by key."""
    models: dict[str, str] = field(default_factory=dict[str, str])
    """Their models, by key."""

    @property
    def total_bytes(self) -> int:
        """All of it. 0: unknown."""
        return self.gpu.total_bytes or 0

    @property
    def left_bytes(self) -> int:
        """What an instance more may ask for."""
        contexts = CONTEXT_BYTES * len(self.taken)
        taken = sum(self.taken.values()) + contexts
        return max(0, self.total_bytes - self.foreign_bytes - taken)

    @property
    def spare_bytes(self) -> int:
        """What Jan gives to one more by itself."""
        return max(0, self.left_bytes - CONTEXT_BYTES - RESERVE_BYTES)

    @property
    def growth_bytes(self) -> int:
        """What may be added to those that are there."""
        return max(0, self.left_bytes - RESERVE_BYTES)

    def of_thousandths(self, thousandths: int) -> int:
        """That part of its memory."""
        return self.total_bytes * thousandths // THOUSAND

    def thousandths(self, size_bytes: int) -> int:
        """The least part that holds so much."""
        return -(-size_bytes * THOUSAND // self.total_bytes)

    def take(self, key: str, model: str, size_bytes: int) -> None:
        """Give an instance that much, or another amount than it had."""
        self.taken[key] = size_bytes
        self.models[key] = model

    def __str__(self) -> str:
        """Say who is there: `GPU 1 (24.0 GB): 2.1 GB of others, 12.0 GB of Qwen3`."""
        parts = [
            f"{sizes.in_words(size)} of {self.models[key]}" for key, size in self.taken.items()
        ]
        if self.foreign_bytes:
            parts.insert(0, f"{sizes.in_words(self.foreign_bytes)} of others")
        size = sizes.in_words(self.total_bytes) if self.total_bytes else "of unknown memory"
        return f"GPU {self.gpu.index} ({size}{': ' if parts else ''}{', '.join(parts)})"
