"""What vLLM is told, and what it must not be told."""

from pathlib import Path

import pytest

from jan.runner import launch, store
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
