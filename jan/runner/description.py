"""What a model can do, told by its folder before any engine has loaded it.

vLLM tells clients the names of its models and no more; so this says which of its paths will work.
An architecture of which this knows nothing is described by nobody: it is asked, and answers.

Source: vLLM 0.32, `vllm/model_executor/models/registry.py` (which architectures do what).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jan.deployments import Capability

TEXT: tuple[Capability, ...] = ("chat", "completions", "tools", "tokenize")
WRITES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
HEARS = ("WhisperForConditionalGeneration", "VoxtralForConditionalGeneration")
"""Architectures that write down speech."""
SORTS = "ForSequenceClassification"
"""With one label it says how well two texts go together."""
EMBEDS = (
    "BertModel",
    "RobertaModel",
    "ModernBertModel",
    "GteModel",
    "NomicBertModel",
    "MPNetModel",
)
SEES = ("vision_config", "vision_tower", "mm_vision_tower", "visual")


def capabilities(folder: Path) -> Sequence[Capability] | None:
    """Tell what an engine that has this model will do. None: nobody knows."""
    config = _json(folder / "config.json")
    said = config.get("architectures")
    names = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    if not names:
        return None
    name = names[0]
    # sentence-transformers' own file: a model that is made to embed, whatever it is made of.
    if (folder / "modules.json").is_file() or name.endswith(EMBEDS):
        return ("embeddings", "score", "rerank", "tokenize")
    if name.endswith(SORTS):
        return ("score", "rerank", "tokenize") if _has_one_label(config) else ("tokenize",)
    if name in HEARS:
        return (*TEXT, "transcription") if name.startswith("Voxtral") else ("transcription",)
    return _of_text(folder, config, name) if name.endswith(WRITES) else None


def _of_text(folder: Path, config: dict[str, Any], name: str) -> Sequence[Capability] | None:
    sees: tuple[Capability, ...] = ("vision",) if any(part in config for part in SEES) else ()
    if name.endswith("ForConditionalGeneration") and not sees:
        return None  # encoders with decoders bear the same name, and vLLM serves few of them
    can: tuple[Capability, ...] = ("completions", "tokenize")
    return (*(TEXT if _has_chat_template(folder) else can), *sees)


def _has_one_label(config: dict[str, Any]) -> bool:
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return len(labels) == 1
    return config.get("num_labels", 1) == 1


def _has_chat_template(folder: Path) -> bool:
    names = ("chat_template.jinja", "chat_template.json", "tekken.json")
    if any((folder / name).is_file() for name in names):
        return True
    return bool(_json(folder / "tokenizer_config.json").get("chat_template"))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
