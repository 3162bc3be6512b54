"""How much memory a model needs: its weights, the cache of what it has read, and room to compute.

Facts are what a model's folder says, whatever it is served with; they travel as JSON. Needs follow
from them and from the options of an engine, for each GPU of it.
"""

import math
from dataclasses import dataclass

import msgspec

from jan.runner.options import Options, Parallel

MiB = 2**20
GiB = 2**30

HIDDEN = 4096
"""Numbers that stand for a token inside a model of which that is not known."""
VOCABULARY = 131_072
"""Tokens that such a model knows."""
LEAST_TOKENS = 8192
"""A cache for fewer, or for fewer than the context has, would hardly be of use."""
USEFUL_TOKENS = 65_536
"""What several conversations at once fill, each of some thousand tokens."""
CONVERSATIONS = 8
OVERHEAD_BYTES = 1 * GiB
"""On each GPU, of one engine: kernels, CUDA graphs, buffers for what GPUs tell each other."""
EAGER_OVERHEAD_BYTES = 512 * MiB
"""The same without CUDA graphs."""
CPU_OVERHEAD_BYTES = 768 * MiB
"""Of an engine on the processor, beside weights and cache: Python, PyTorch and its buffers. SmolLM2
takes 400 MB at rest, with weights of 270 MB and a cache that is not touched before it is used."""
_BYTES_EACH = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model before it is served."""

    weights_bytes: int
    expert_bytes: int = 0
    """Those of them that belong to experts, of which each GPU may have some."""
    layers: int | None = None
    """That keep something of every token. None: it is not known how much."""
    window_layers: int = 0
    """That keep something of the last tokens of a conversation only."""
    window_tokens: int | None = None
    """Of so many."""
    heads: int | None = None
    kv_heads: int | None = None
    head_bytes_per_layer: int | None = None
    """What one layer keeps of a token for one key-value head, key and value. 16 bits a number."""
    shared_bytes_per_layer: int = 0
    """What a layer keeps of a token that every GPU has to have (latent attention)."""
    hidden: int = HIDDEN
    intermediate: int = 16384
    vocabulary: int = VOCABULARY
    context_tokens: int | None = None
    dtype: str = "bfloat16"
    quantization: str | None = None


@dataclass(frozen=True)
class Needs:
    """Of one engine, on each of its GPUs. On the processor: in all."""

    weights_bytes: int
    least_bytes: int
    """With a cache that is of some use."""
    useful_bytes: int
    """With one for several conversations."""
    least_cache_bytes: int
    is_guess: bool
    """Whether the cache's part is a guess."""


def of(facts: Facts, options: Options, parallel: Parallel, *, on_cpu: bool = False) -> Needs:
    """Tell what each GPU of an engine has to hold."""
    whole = Parallel() if on_cpu else parallel
    weights_bytes = _weights(facts, options, whole)
    room = CPU_OVERHEAD_BYTES if on_cpu else _room(facts, options, whole.tensor)
    context = options.number("max-model-len") or facts.context_tokens or LEAST_TOKENS
    least_tokens = min(context, LEAST_TOKENS)
    useful_tokens = max(context, min(CONVERSATIONS * context, USEFUL_TOKENS))
    if facts.layers is None:  # as models of that size have
        least, useful = max(256 * MiB, weights_bytes // 16), max(GiB, weights_bytes // 4)
    else:
        least = _cache(facts, options, whole, least_tokens, conversations=1)
        useful = _cache(facts, options, whole, useful_tokens, conversations=CONVERSATIONS)
    return Needs(
        weights_bytes=weights_bytes,
        least_cache_bytes=least,
        least_bytes=weights_bytes + room + least,
        useful_bytes=weights_bytes + room + max(least, useful),
        is_guess=facts.layers is None,
    )


def _weights(facts: Facts, options: Options, parallel: Parallel) -> int:
    """Weights of one GPU. Those of 32 bits become 16 when they are loaded, unless told not to."""
    total = facts.weights_bytes
    if facts.quantization is None:
        wanted = options.text("dtype") or "auto"
        stored = _BYTES_EACH.get(facts.dtype, 2)
        loaded = min(stored, 2) if wanted == "auto" else _BYTES_EACH.get(wanted, 2)
        total = total * loaded // stored
    part = min(1.0, facts.expert_bytes / max(1, facts.weights_bytes))
    whole = parallel.tensor * parallel.pipeline
    # Copies of a mixture of experts share the experts out.
    return math.ceil(total * ((1 - part) / whole + part / (whole * parallel.data)))


def _cache(
    facts: Facts, options: Options, parallel: Parallel, tokens: int, *, conversations: int
) -> int:
    """Bytes that one GPU keeps of so many tokens."""
    heads = 0 if facts.kv_heads is None else -(-facts.kv_heads // parallel.tensor)
    per_layer = heads * (facts.head_bytes_per_layer or 0) + facts.shared_bytes_per_layer
    in_window = min(tokens, conversations * (facts.window_tokens or tokens))
    kept = (facts.layers or 0) * tokens + facts.window_layers * in_window
    total = -(-kept * per_layer // parallel.pipeline)
    kind = options.text("kv-cache-dtype") or "auto"
    if kind == "auto":
        kind = options.text("dtype") or "auto"
    if kind.startswith("fp8"):
        return total // 2
    return total * 2 if kind in {"float32", "float"} else total


def _room(facts: Facts, options: Options, tensor: int) -> int:
    """What a step computes with: the widest layer for all its tokens, and the last one's scores."""
    tokens = options.number("max-num-batched-tokens") or LEAST_TOKENS
    running = options.number("max-num-seqs") or 256
    widest = tokens * (4 * facts.hidden + 2 * facts.intermediate // tensor) * 2
    scores = min(running, tokens) * facts.vocabulary * 4 * 2
    overhead = EAGER_OVERHEAD_BYTES if "enforce-eager" in options else OVERHEAD_BYTES
    return overhead + widest + scores


def refusal(facts: Facts, parallel: Parallel) -> str | None:
    """Why the model can't be spread like that."""
    tensor, heads, kv_heads = parallel.tensor, facts.heads, facts.kv_heads
    if heads is not None and heads % tensor:
        return f"its {heads} attention heads can't be divided among {tensor} GPUs"
    if kv_heads and kv_heads % tensor and tensor % kv_heads:
        return f"its {kv_heads} key-value heads can't be divided among {tensor} GPUs"
    return None
