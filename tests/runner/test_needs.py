"""How much memory models need, by their own words and the operator's."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jan.runner import facts, needs, options, store
from jan.runner.needs import Facts
from jan.runner.options import Options, Parallel
from tests.runner import models

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 131_072,
    "vocab_size": 128_256,
    "torch_dtype": "bfloat16",
}
WHOLE = Parallel()


def added(home: Path, config: object, name: str = "m") -> store.Model:
    """Add a model of that configuration."""
    folder = models.write(home / "drafts" / name)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    model = store.add(home, name, folder)
    text = config if isinstance(config, str) else json.dumps(config)
    (model.folder / "config.json").unlink()
    (model.folder / "config.json").write_text(text)
    return model


def cache(known: Facts, engine_args: str = "", spread: Parallel = WHOLE) -> int:
    """Tell the least cache."""
    return needs.of(known, Options.parse(engine_args), spread).least_cache_bytes


def test_a_cache_follows_from_layers_heads_and_context(home: Path) -> None:
    known = facts.of(added(home, LLAMA))

    # 32 layers of 8 heads of 128 numbers of 2 bytes, key and value.
    assert cache(known) == 131_072 * 8192
    assert cache(known, "--max-model-len 4096") == 131_072 * 4096
    assert cache(known, "--max_model_len=1k") == 131_072 * 1000
    assert cache(known, "--kv-cache-dtype fp8") == 131_072 * 8192 // 2
    assert cache(known, "--dtype float32") == 131_072 * 8192 * 2
    assert cache(known, "", Parallel(tensor=4)) == 131_072 * 8192 // 4
    assert cache(known, "", Parallel(tensor=16)) == 131_072 * 8192 // 8  # heads are not halved
    assert cache(known, "", Parallel(pipeline=2)) == 131_072 * 8192 // 2


@pytest.mark.parametrize(
    ("config", "per_token"),
    [
        ({"model_type": "vision", "text_config": LLAMA}, 131_072),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024}, 12 * 12 * 64 * 4),
        ({**LLAMA, "multi_query": True, "num_key_value_heads": None}, 32 * 128 * 4),
        (  # latent attention keeps one vector for all heads, on every GPU
            {**LLAMA, "num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
            61 * 576 * 2,
        ),
        ({**LLAMA, "layer_types": ["linear_attention", "full_attention"] * 16}, 65_536),
        ({**LLAMA, "full_attention_interval": 4}, 32_768),
        ({**LLAMA, "hybrid_override_pattern": "M-M*-M*"}, 2 * 4096),
        ({**LLAMA, "model_type": "bert"}, 0),
    ],
)
def test_families_of_models_say_it_in_their_own_ways(
    home: Path, config: dict[str, Any], per_token: int
) -> None:
    known = facts.of(added(home, config))

    assert cache(known) == per_token * min(known.context_tokens or 8192, 8192)
    assert not needs.of(known, Options.parse(""), WHOLE).is_guess


def test_layers_that_look_at_a_window_keep_no_more_than_that(home: Path) -> None:
    kinds = (["sliding_attention"] * 5 + ["full_attention"]) * 5
    known = facts.of(added(home, {**LLAMA, "layer_types": kinds, "sliding_window": 1024}))

    assert cache(known) == 4096 * (5 * 8192 + 25 * 1024)


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        "[1]",
        "not JSON",
        {"num_hidden_layers": -3, "num_attention_heads": True, "hidden_size": 10**30},
        {"text_config": [], "layer_types": "full", "quantization_config": 7, "torch_dtype": 1},
        {"num_hidden_layers": "32", "sliding_window": None, "num_attention_heads": 0},
    ],
)
def test_odd_configurations_are_guessed_at(home: Path, config: object) -> None:
    needed = needs.of(facts.of(added(home, config)), Options.parse(""), WHOLE)

    assert needed.is_guess
    assert needed.useful_bytes >= needed.least_bytes > 0


def test_weights_are_counted_once_and_as_they_are_loaded(home: Path) -> None:
    folder = models.write(home / "drafts" / "twice")
    (folder / "consolidated.safetensors").write_bytes(models.safetensors(500))
    (folder / "other").mkdir()
    (folder / "other" / "model.safetensors").write_bytes(models.safetensors(500))
    (folder / "config.json").write_text(json.dumps({**LLAMA, "torch_dtype": "float32"}))
    model = store.add(home, "twice", folder)

    known = facts.of(model)

    assert known.weights_bytes == model.files["model.safetensors"].size_bytes
    loaded = needs.of(known, Options.parse(""), WHOLE).weights_bytes
    assert loaded == known.weights_bytes // 2
    kept = needs.of(known, Options.parse("--dtype float32"), WHOLE)
    assert kept.weights_bytes == known.weights_bytes


def test_quantized_weights_count_as_they_lie_on_the_disk(home: Path) -> None:
    config = {**LLAMA, "torch_dtype": "float32", "quantization_config": {"quant_method": "awq"}}

    known = facts.of(added(home, config))

    assert known.quantization == "awq"
    assert needs.of(known, Options.parse(""), WHOLE).weights_bytes == known.weights_bytes


def test_experts_are_told_by_the_names_of_tensors(home: Path) -> None:
    model = added(home, {**LLAMA, "num_local_experts": 8})
    content = (
        models.safetensors(64)
        .replace(b'"weight"', b'"a.experts.1"')
        .replace(b"\x00\x00\x00\x00\x00\x00\x00{", b"\x00\x00\x00\x00\x00\x00\x00{", 1)
    )
    header = len(content) - 64 - 8
    (model.folder / "model.safetensors").unlink()
    (model.folder / "model.safetensors").write_bytes(header.to_bytes(8, "little") + content[8:])
    sized = store.File(len(content), "")
    model = store.Model("m2", "", None, {"model.safetensors": sized}, model.added_at, model.folder)

    facts._known.clear()

    assert facts.of(model).expert_bytes == 64


def test_options_are_read_as_vllm_reads_them() -> None:
    read = Options.parse("--max_num_seqs 8 -tp 2 --max-num-seqs=16 --enforce-eager -q 'a b'")

    assert read.number("max-num-seqs") == 16
    assert read.text("quantization") == "a b"
    assert "enforce-eager" in read
    assert read.running(256) == 16
    assert Options.parse("--max-num-batched-tokens 2K").running(4096) == 2048
    assert Options.parse("--performance-mode throughput").running(256) == 512
    assert Options.parse("--max-num-seqs many").running(256) == 256


@pytest.mark.parametrize(
    ("engine_args", "here", "world"),
    [
        ("", 3, 3),
        ("-tp 4", 4, 4),
        ("--tensor-parallel-size=2 --pipeline_parallel_size 2", 4, 4),
        ("-tp 2 -dp 4", 8, 2),
        ("-tp 2 -dp 4 -dpl 1", 2, 2),
        ("-tp 8 --data-parallel-size 2 --data-parallel-rank 0", 8, 8),
        ("-tp 8 -pp 2 --nnodes 2 --node-rank 1", 8, 16),
        ("-tp x", 3, 3),
    ],
)
def test_gpus_of_this_machine_are_counted(engine_args: str, here: int, world: int) -> None:
    spread = options.parallel(Options.parse(engine_args), 3)

    assert (spread.here, spread.world) == (here, world)


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    read = Options.parse(text)

    assert options.parallel(read).here >= 1
    assert read.running(256) >= 1
