"""Folders that look like models of a few bytes."""

import json
import struct
from pathlib import Path


def safetensors(size_bytes: int = 8) -> bytes:
    """One tensor of zeros in the form of a safetensors file."""
    tensor = {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size_bytes)


def write(folder: Path) -> Path:
    """Write the least that counts as a model, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder
