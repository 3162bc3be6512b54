"""Whether a folder holds a model that vLLM can load: settled before it is served, with the reason.

Source: https://huggingface.co/docs/safetensors (a length, a JSON header, the tensors' bytes).
"""

import json
import struct
from pathlib import Path
from typing import Any

from jan.errors import InvalidRequest

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "tiktoken.model")
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""


def check(folder: Path) -> None:
    """Look for configuration, tokenizer and complete weights.

    Raises:
        InvalidRequest: something is missing or cut off.
    """
    config = _json(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise InvalidRequest(f"{folder / 'config.json'} does not name a `model_type`.")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise InvalidRequest(
            f"{folder} holds no tokenizer (one of {', '.join(TOKENIZERS)}).",
            hint="Save it there too: `AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)`.",
        )
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise InvalidRequest(
            f"{folder} holds no weights in safetensors files.",
            hint="Convert others with transformers: `model.save_pretrained(FOLDER)`.",
        )
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = {str(name) for name in _json(index).get("weight_map", {}).values()}
        if absent := sorted(named - {shard.name for shard in shards}):
            raise InvalidRequest(f"{folder} lacks {', '.join(absent)}, which its index names.")
    for shard in shards:
        _check_complete(shard)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidRequest(f"{path.parent} is no model: it has no {path.name}.") from None
    except ValueError as error:
        raise InvalidRequest(f"{path} is not JSON: {error}.") from None


def _check_complete(shard: Path) -> None:
    """The header says where the last tensor ends: there the file must end too."""
    size_bytes = shard.stat().st_size
    try:
        with shard.open("rb") as content:
            (header_bytes,) = struct.unpack("<Q", content.read(8))
            if header_bytes > min(size_bytes, MAX_HEADER_BYTES):
                raise InvalidRequest(f"{shard} is not a safetensors file, or is cut off.")
            header = json.loads(content.read(header_bytes))
        ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise InvalidRequest(
            f"{shard} is not a safetensors file.",
            hint="A small file may be a Git LFS pointer: fetch the real one with `git lfs pull`.",
        ) from None
    if size_bytes != 8 + header_bytes + max(ends, default=0):
        raise InvalidRequest(f"{shard} is cut off.", hint="Fetch it again.")
