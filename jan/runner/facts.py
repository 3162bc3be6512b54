"""What a model's folder says of the memory that it needs: sizes of its files, and `config.json`.

Names of the same thing differ between families of models. What is absent or odd counts as unknown,
and a plan makes do with a guess: nothing is refused for want of a number.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jan.runner import demonstration, store
from jan.runner.needs import HIDDEN, VOCABULARY, Facts
from jan.runner.store import Model

MAX_NUMBER = 10**9
TEXT = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
"""Parts of a configuration in which models that see or hear keep that of the language model."""
ENCODERS = frozenset(
    {
        *("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "gte"),
        *("modernbert", "mpnet", "new", "nomic_bert", "roberta", "xlm-roberta"),
    }
)
"""They read a text at once and keep nothing of it."""
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000

_known: dict[tuple[Path, datetime], Facts] = {}
MADE_HERE = {
    demonstration.NAME: Facts(
        weights_bytes=269_060_552,
        layers=30,
        heads=9,
        kv_heads=3,
        head_bytes_per_layer=256,
        hidden=576,
        intermediate=1536,
        vocabulary=49_152,
        context_tokens=8192,
    )
}
"""Of models that are made when they are wanted."""


def find(home: Path, name: str) -> Facts | None:
    """Read what there is to know of a model. None: it is not here.

    Raises:
        InvalidRequest: that is no name.
    """
    model = store.find(home, name)
    return MADE_HERE.get(name) if model is None else of(model)


def of(model: Model) -> Facts:
    """Read what there is to know of a model in the store, once: what is in it does not change."""
    key = (model.folder, model.added_at)
    if key not in _known:
        _known[key] = _read(model)
    return _known[key]


def _read(model: Model) -> Facts:
    config = _json(model.folder / "config.json")
    text = _text(config)
    shards = _shards(model)
    layers, window_layers = _layers(text)
    heads = _number(text, "num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    hidden = _number(text, "hidden_size", "n_embd", "d_model", "dim")
    shared_bytes = _shared_bytes(text)
    head_numbers = _number(text, "head_dim", "attention_head_dim") or (
        hidden // heads if hidden and heads else None
    )
    is_encoder = text.get("model_type") in ENCODERS
    is_known = is_encoder or bool(layers is not None and (shared_bytes or head_numbers))
    active = _number(text, "num_experts_per_tok", "num_experts_per_token", "moe_topk") or 1
    wide = _number(text, "intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim") or 0
    experts_wide = (_number(text, "moe_intermediate_size") or 0) * active
    return Facts(
        weights_bytes=sum(size for _, size in shards),
        expert_bytes=_expert_bytes(model.folder, shards) if _is_mixture(text) else 0,
        layers=None if not is_known else 0 if is_encoder else layers,
        window_layers=0 if is_encoder or not is_known else window_layers,
        window_tokens=_number(text, "sliding_window", "sliding_window_size"),
        heads=heads,
        kv_heads=None if shared_bytes else _kv_heads(text, heads),
        head_bytes_per_layer=head_numbers and 2 * 2 * head_numbers,
        shared_bytes_per_layer=shared_bytes,
        hidden=hidden or HIDDEN,
        intermediate=max(wide, experts_wide) or 4 * (hidden or HIDDEN),
        vocabulary=_number(text, "vocab_size") or VOCABULARY,
        context_tokens=_number(
            text,
            *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
            *("max_sequence_length", "max_target_positions", "model_max_length"),
        ),
        dtype=_word(text, config),
        quantization=_quantization(config) or _quantization(text),
    )


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in TEXT:
        part = config.get(name)
        if isinstance(part, dict) and part:
            return _text({"model_type": config.get("model_type"), **part})
    return config


def _layers(text: Mapping[str, Any]) -> tuple[int | None, int]:
    """Layers that keep something of every token, and those that keep it of a window's."""
    layers = _number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    layers = layers or _number(text, "decoder_layers")
    kinds = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(kinds, list) and kinds:
        words = [str(kind) for kind in kinds]
        windows = sum("sliding" in word or "chunked" in word for word in words)
        full = sum("attention" in word and "linear" not in word for word in words) - windows
        return full, windows
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str) and "M" in pattern:  # Nemotron's: M a state, - none, * attention
        return pattern.count("*"), 0
    if layers and (period := _number(text, "full_attention_interval", "attn_layer_period")):
        return layers // period, 0
    if layers and (period := _number(text, "sliding_window_pattern")) and period > 1:
        return layers // period, layers - layers // period
    return layers, 0


def _kv_heads(text: Mapping[str, Any], heads: int | None) -> int | None:
    if text.get("multi_query") is True and "num_kv_heads" not in text:
        return 1
    return (
        _number(text, "num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
        or heads
    )


def _shared_bytes(text: Mapping[str, Any]) -> int:
    """Of latent attention, which keeps one vector for all heads."""
    rank, rope = _number(text, "kv_lora_rank"), _number(text, "qk_rope_head_dim")
    if rank is None or rope is None:
        return 0
    return 2 * (rank + rope + (_number(text, "index_head_dim") or 0))


def _is_mixture(text: Mapping[str, Any]) -> bool:
    experts = _number(
        text, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"
    )
    return (experts or 0) > 1


def _shards(model: Model) -> list[tuple[str, int]]:
    """Weights that vLLM reads: those of the index; not a second copy in another arrangement."""
    files = {
        name: file.size_bytes
        for name, file in model.files.items()
        if name.endswith(".safetensors") and "/" not in name
    }
    named = _json(model.folder / INDEX).get("weight_map")
    if isinstance(named, dict) and (indexed := files.keys() & set(map(str, named.values()))):
        return sorted((name, files[name]) for name in indexed)
    usual = {name for name in files if not name.startswith("consolidated")}
    return sorted((name, files[name]) for name in usual or files)


def _expert_bytes(folder: Path, shards: Sequence[tuple[str, int]]) -> int:
    """Bytes of tensors that belong to experts, by the headers of the files."""
    total = 0
    for name, size_bytes in shards:
        try:
            with (folder / name).open("rb") as content:
                (header_bytes,) = struct.unpack("<Q", content.read(8))
                if header_bytes > min(size_bytes, MAX_HEADER_BYTES):
                    continue
                header = json.loads(content.read(header_bytes))
            for tensor, told in header.items():
                if ".experts." in tensor:
                    first, last = told["data_offsets"]
                    total += last - first
        except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError):
            continue
    return total


def _quantization(config: Mapping[str, Any]) -> str | None:
    for name in ("quantization_config", "compression_config"):
        part = config.get(name)
        if isinstance(part, dict) and part:
            return str(part.get("quant_method") or part.get("quant_algo") or "quantized")
    return None


def _word(*configs: Mapping[str, Any]) -> str:
    for config in configs:
        for name in ("dtype", "torch_dtype"):
            if isinstance(word := config.get(name), str):
                return word.removeprefix("torch.")
    return "bfloat16"


def _number(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a number one can count with."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MAX_NUMBER:
            return value
    return None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
