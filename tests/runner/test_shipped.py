"""What came with the program, in an image, is found beside what JAN_HOME has, and never changed."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from jan import clock, sources
from jan.errors import Conflict, Misconfigured
from jan.runner import engines, pruning, store
from jan.runner.bundles import Bundle
from jan.runner.engines import Engine
from jan.runner.install import install
from jan.runner.store import Model
from tests.runner import models, wheels

MADE_AT_S = 1_700_000_000


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for the folder of a program that an image has unpacked."""
    folder = tmp_path / "program"
    folder.mkdir()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "jan"))
    return folder


@pytest.fixture
def model(program: Path, tmp_path: Path) -> Model:
    """A model that came with it."""
    return store.add(program, "org/tiny", models.write(tmp_path / "tiny"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """An engine of one package, which can't be had: nothing here installs it."""
    return wheels.lock(tmp_path, wheels.build(tmp_path, "vllm", files=wheels.VLLM))


@pytest.fixture
def engine(program: Path, bundle: Bundle) -> Engine:
    """It, as it came with the program."""
    folder = program / "engines" / bundle.name
    folder.mkdir(parents=True)
    made = Engine(
        variant=bundle.variant,
        version=bundle.version,
        python=bundle.python,
        interpreter=Path(sys.executable),
        lock_sha256=bundle.lock_sha256,
        installed_at=clock.now(),
        size_bytes=1,
        folder=folder,
    )
    made.write()
    return made


async def test_an_engine_that_is_there_is_not_installed(
    home: Path, bundle: Bundle, engine: Engine
) -> None:
    installed = await install(home, bundle, lambda *_: None)

    assert installed == engine
    assert engines.installed(home) == [engine]
    assert list((home / "engines").glob("*/")) == []


def test_an_engine_of_another_build_is_installed_beside_it(
    home: Path, bundle: Bundle, engine: Engine
) -> None:
    bundle.lock.write_text(bundle.lock.read_text() + "# another\n")

    assert engines.find(home, bundle) is None


def test_an_engine_that_came_with_jan_is_not_removed(home: Path, engine: Engine) -> None:
    with pytest.raises(Conflict, match="came with this Jan"):
        engines.remove(home, engine.name)

    assert engine.folder.is_dir()


def test_a_model_is_found_and_served_where_it_lies(home: Path, model: Model) -> None:
    assert store.get(home, model.name) == model
    assert store.models(home) == [model]
    with store.serving(model):
        assert store.is_used(model)


def test_one_of_the_stores_own_comes_first(home: Path, model: Model, tmp_path: Path) -> None:
    own = store.add(home, model.name, models.write(tmp_path / "own"))

    assert store.get(home, model.name) == own
    assert store.models(home) == [own]
    assert store.remove(home, model.name) == own
    assert store.get(home, model.name) == model


def test_a_model_that_came_with_jan_is_neither_removed_nor_pruned(home: Path, model: Model) -> None:
    with pytest.raises(Conflict, match="came with this Jan"):
        store.remove(home, model.name)

    assert pruning.found(home, unused_for=timedelta(0), wanted=()) == []


def test_a_one_file_program_has_nothing_beside_it(home: Path, program: Path) -> None:
    assert (engines.installed(home), store.models(home)) == ([], [])


def test_what_is_made_twice_says_the_same(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(MADE_AT_S))

    model = store.add(home, "tiny", models.write(tmp_path / "tiny"))

    assert model.added_at.timestamp() == MADE_AT_S


@pytest.mark.parametrize("said", ["today", "1e9", "9" * 30])
def test_a_time_that_is_none_is_named(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", said)

    with pytest.raises(Misconfigured, match="SOURCE_DATE_EPOCH"):
        sources.made_at()
