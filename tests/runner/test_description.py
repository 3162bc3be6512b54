"""What models can do is told by their folders."""

import json
from pathlib import Path
from typing import Any

import pytest

from jan.runner import description

CHAT = ("chat", "completions", "tools", "tokenize")


def folder(path: Path, config: Any, *files: str, **tokenizer: Any) -> Path:
    """Write a model's folder."""
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name in files:
        (path / name).write_text("{}")
    return path


def of(name: str, **more: Any) -> dict[str, Any]:
    """Name an architecture."""
    return {"architectures": [name], **more}


@pytest.mark.parametrize(
    ("config", "files", "tokenizer", "expected"),
    [
        (of("LlamaForCausalLM"), ["chat_template.jinja"], {}, CHAT),
        (of("LlamaForCausalLM"), [], {"chat_template": "{{x}}"}, CHAT),
        (of("LlamaForCausalLM"), [], {}, ("completions", "tokenize")),
        (of("GPT2LMHeadModel"), [], {}, ("completions", "tokenize")),
        (
            of("Qwen2VLForConditionalGeneration", vision_config={}),
            ["chat_template.json"],
            {},
            (*CHAT, "vision"),
        ),
        (of("XLMRobertaModel"), [], {}, ("embeddings", "score", "rerank", "tokenize")),
        (
            of("Qwen3ForCausalLM"),
            ["modules.json"],
            {},
            ("embeddings", "score", "rerank", "tokenize"),
        ),
        (
            of("BertForSequenceClassification", id2label={"0": "x"}),
            [],
            {},
            ("score", "rerank", "tokenize"),
        ),
        (
            of("BertForSequenceClassification", id2label={"0": "x", "1": "y"}),
            [],
            {},
            ("tokenize",),
        ),
        (of("WhisperForConditionalGeneration"), [], {}, ("transcription",)),
        (of("T5ForConditionalGeneration"), ["chat_template.jinja"], {}, None),
        (of("SomethingNew"), ["chat_template.jinja"], {}, None),
        ({"architectures": []}, [], {}, None),
        ({"architectures": "x"}, [], {}, None),
        ([], [], {}, None),
        ("{", [], {}, None),
        ("[" * 100_000, [], {}, None),
    ],
)
def test_capabilities(
    tmp_path: Path, config: Any, files: list[str], tokenizer: Any, expected: Any
) -> None:
    path = folder(tmp_path, config, *files, **tokenizer)

    assert description.capabilities(path) == expected


def test_a_folder_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert description.capabilities(tmp_path / "absent") is None
