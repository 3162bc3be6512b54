"""What an operator's `engine_args` say that Jan has to know: over how many GPUs, how much memory.

They reach vLLM as they are. Here they are only read, as vLLM's own parser would: the last of an
option counts, `_` is as good as `-`, a value may stand behind `=`. What can't be read is left to
vLLM, which refuses it in its own words.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

_SHORT = {
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-dp": "data-parallel-size",
    "-dpl": "data-parallel-size-local",
    "-dpn": "data-parallel-rank",
    "-pcp": "prefill-context-parallel-size",
    "-n": "nnodes",
    "-q": "quantization",
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMgGtT]?)")
_SCALE = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4} | {
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}
"""As vLLM reads them: `25k` are 25,000, `25K` are 25,600."""


@dataclass(frozen=True)
class Options:
    """The options that were read."""

    values: Mapping[str, str]
    """By name without dashes in front. A flag has an empty value."""

    @classmethod
    def parse(cls, engine_args: str) -> "Options":
        """Read them."""
        try:
            words = shlex.split(engine_args)
        except ValueError:  # the settings refuse such
            words = []
        values: dict[str, str] = {}
        name = None
        for word in words:
            if _is_option(word):
                spelt, _, value = word.partition("=")
                name = _SHORT.get(spelt) or spelt.lstrip("-").replace("_", "-")
                values[name] = value
            elif name is not None:
                values[name] = values[name] or word
        return cls(values)

    def __contains__(self, name: str) -> bool:
        """Whether the option is there."""
        return name in self.values

    def number(self, name: str) -> int | None:
        """A whole number of at least 1, which may be written `25k`."""
        match = _SIZE.fullmatch(self.values.get(name, ""))
        if match is None:
            return None
        value = float(match[1]) * _SCALE[match[2]]
        return int(value) if value >= 1 else None

    def fraction(self, name: str) -> float | None:
        """A number above 0, up to 1."""
        try:
            value = float(self.values.get(name, ""))
        except ValueError:
            return None
        return value if 0 < value <= 1 else None

    def running(self, usual: int) -> int:
        """How many requests vLLM works on at a time, where it is `usual` if nothing is said."""
        if (said := self.number("max-num-seqs")) is None:
            said = usual * (2 if self.text("performance-mode") == "throughput" else 1)
        most = (said, self.number("max-num-active-seqs"), self.number("max-num-batched-tokens"))
        return min(number for number in most if number is not None)

    def text(self, name: str) -> str | None:
        """A word."""
        return self.values.get(name) or None


@dataclass(frozen=True)
class Parallel:
    """How one engine is spread over GPUs: so many copies of so many stages of so many parts."""

    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    """Ranks that share in reading a prompt (`--prefill-context-parallel-size`)."""
    data: int = 1
    """Copies of the model, here and elsewhere."""
    data_here: int = 1
    nodes: int = 1
    is_ray: bool = False
    """Whether Ray places its parts, on this machine and others."""

    @property
    def world(self) -> int:
        """GPUs of one copy, on all machines."""
        return self.tensor * self.pipeline * self.context

    @property
    def here(self) -> int:
        """GPUs of this machine that the engine takes."""
        return -(-self.world // self.nodes) * self.data_here


def parallel(options: Options, tensor_parallel: int = 1) -> Parallel:
    """Tell how an engine with these options is spread. `tensor_parallel` is the deployment's."""
    data = options.number("data-parallel-size") or 1
    is_one_rank = "data-parallel-rank" in options or "data-parallel-external-lb" in options
    data_here = options.number("data-parallel-size-local") or (1 if is_one_rank else data)
    backends = (
        options.text("distributed-executor-backend"),
        options.text("data-parallel-backend"),
    )
    return Parallel(
        tensor=options.number("tensor-parallel-size") or tensor_parallel,
        pipeline=options.number("pipeline-parallel-size") or 1,
        context=options.number("prefill-context-parallel-size") or 1,
        data=data,
        data_here=min(data_here, data),
        nodes=options.number("nnodes") or 1,
        is_ray="ray" in backends,
    )


def _is_option(word: str) -> bool:
    return bool(re.match(r"-{1,2}[A-Za-z]", word))
