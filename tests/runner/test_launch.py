"""What vLLM is told, and what it must not be told."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jan.runner import launch, store
from jan.runner.wishes import Assignment
from jan.settings import Settings
from tests.runner import fake_engine, models


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings with an engine argument of the operator."""
    return Settings(home=home, engine_args="--max-num-seqs 4 --chat-template 'a b'")


@pytest.fixture
def model(home: Path, tmp_path: Path) -> store.Model:
    """A model in the store."""
    return store.add(home, "tiny", models.write(tmp_path / "tiny"))


def test_the_operators_arguments_come_last(settings: Settings, model: store.Model) -> None:
    command = launch.command(settings, fake_engine.write(settings.home), model, settings.run_dir)

    assert command[-4:] == ["--max-num-seqs", "4", "--chat-template", "a b"]
    assert command[command.index("--served-model-name") + 1] == "tiny"
    assert "--enforce-eager" in command
    assert command[command.index("--max-num-batched-tokens") + 1] == "128"
    assert "--enable-log-requests" not in command


def test_the_engine_sees_none_of_our_secrets(settings: Settings, tmp_path: Path) -> None:
    engine = fake_engine.write(settings.home)
    environ = {
        "JAN_JWT_SECRET": "s",
        "DB_POSTGRESQL_WRITE_DSN": "postgresql://u:p@h/d",
        "VLLM_NO_USAGE_STATS": "0",
        "PYTHONPATH": "/elsewhere",
        "HOME": "/root",
    }

    child = launch.environment(settings, engine, tmp_path, environ)

    assert not set(child) & {"JAN_JWT_SECRET", "DB_POSTGRESQL_WRITE_DSN"}
    assert child["HOME"] == "/root"
    assert child["PYTHONPATH"] == str(engine.folder)
    assert child["HF_HUB_OFFLINE"] == "1"
    assert child["VLLM_NO_USAGE_STATS"] == "0"  # the operator's word


def test_the_engine_fetches_nothing_unless_the_operator_says_so(
    home: Path, model: store.Model
) -> None:
    """The list that counts is the last that vLLM was given."""
    said = Settings(home=home, engine_args="--allowed-media-domains media.internal")
    engine = fake_engine.write(home)

    command = launch.command(Settings(home=home), engine, model, home)
    changed = launch.command(said, engine, model, home)

    assert command[command.index("--allowed-media-domains") + 1] == launch.NOWHERE
    assert changed[-2:] == ["--allowed-media-domains", "media.internal"]


def test_an_engine_is_told_its_part_of_the_gpus(
    settings: Settings, model: store.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    engine = replace(fake_engine.write(settings.home), variant="cuda")
    place = Assignment(
        gpus=(1, 3), devices=("GPU-b", "GPU-d"), memory_fraction=0.453, tensor_parallel=2
    )

    command = launch.command(settings, engine, model, tmp_path, place)
    env = launch.environment(
        settings, engine, tmp_path, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, assignment=place
    )

    assert command[command.index("--gpu-memory-utilization") + 1] == "0.453"
    assert command[command.index("--tensor-parallel-size") + 1] == "2"
    assert "--kv-cache-memory-bytes" not in command
    assert "--enforce-eager" not in command
    assert command[-4:-2] == ["--max-num-seqs", "4"]
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-d"
    assert "OMP_NUM_THREADS" not in env


def test_engines_that_share_the_processor_are_told_their_parts(
    settings: Settings, model: store.Model, tmp_path: Path
) -> None:
    engine = fake_engine.write(settings.home)
    place = Assignment(kv_cache_bytes=300_000_000, cpus=(2, 3))

    command = launch.command(settings, engine, model, tmp_path, place)
    env = launch.environment(settings, engine, tmp_path, {}, assignment=place)
    theirs = {"OMP_NUM_THREADS": "7", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    said = launch.environment(settings, engine, tmp_path, theirs, assignment=place)

    assert command[command.index("--kv-cache-memory-bytes") + 1] == "300000000"
    assert (env["OMP_NUM_THREADS"], env["VLLM_CPU_OMP_THREADS_BIND"]) == ("2", "2,3")
    assert theirs.items() <= said.items()
    assert "CUDA_VISIBLE_DEVICES" not in env


def test_a_fraction_of_the_operators_is_not_outvoted_by_a_number_of_ours(
    home: Path, model: store.Model, tmp_path: Path
) -> None:
    """VLLM looks at no fraction where it is told a number of bytes."""
    said = Settings(home=home, engine_args="--gpu_memory_utilization 0.3")

    command = launch.command(said, fake_engine.write(home), model, tmp_path)

    assert "--kv-cache-memory-bytes" not in command
