"""What nobody needs can go; what somebody uses can't."""

import errno
import fcntl
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from jan.errors import Conflict, NotFound
from jan.runner import pruning, store
from tests.runner import models

MONTH = timedelta(days=30)


def aged(home: Path, name: str, tmp_path: Path) -> store.Model:
    """Add a model that was last served two months ago."""
    model = store.add(home, name, models.write(tmp_path / name))
    long_ago_s = time.time() - 60 * 86400
    os.utime(model.folder / store.MANIFEST, (long_ago_s, long_ago_s))
    return model


def test_leftovers_go_but_not_those_of_who_is_at_it(home: Path) -> None:
    for name in ("dead", "alive"):
        (store.staging(home, name) / "half").write_bytes(b"x" * 10)
    lock = store.folder_of(home) / store.STAGING / "alive.lock"
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        surplus = pruning.found(home, unused_for=None, wanted=())
        freed_bytes = pruning.remove(home, surplus)

    assert [(each.name, each.size_bytes, each.is_model) for each in surplus] == [
        ("dead", 10, False)
    ]
    assert freed_bytes == 10
    assert (store.staging(home, "alive") / "half").exists()


def test_models_that_were_long_not_served_go(home: Path, tmp_path: Path) -> None:
    for name in ("old", "wanted", "served", "serving"):
        aged(home, name, tmp_path)
    store.add(home, "new", models.write(tmp_path / "new"))
    with store.serving(store.get(home, "served")):
        pass
    with store.serving(store.get(home, "serving")):
        os.utime(store.get(home, "serving").folder / store.MANIFEST, (1, 1))
        surplus = pruning.found(home, unused_for=MONTH, wanted={"wanted"})
    pruning.remove(home, surplus)

    assert [each.name for each in surplus] == ["old"]
    assert {each.name for each in store.models(home)} == {"wanted", "served", "serving", "new"}
    assert pruning.found(home, unused_for=None, wanted=()) == []


def test_what_is_served_is_not_removed(home: Path, tmp_path: Path) -> None:
    model = store.add(home, "busy", models.write(tmp_path / "busy"))
    with (
        store.serving(model),
        store.serving(model),
        pytest.raises(Conflict, match="serving `busy`"),
    ):
        store.remove(home, "busy")
    store.remove(home, "busy")

    assert store.models(home) == []


def test_only_one_process_at_a_time_puts_a_model_together(home: Path) -> None:
    with (
        store.drafting(home, "one"),
        pytest.raises(Conflict, match="Another process"),
        store.drafting(home, "one"),
    ):
        pass


def test_a_model_is_served_from_a_store_that_is_only_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = store.add(home, "shared", models.write(tmp_path / "shared"))

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    with store.serving(model):
        assert store.is_used(model)


def test_a_model_that_is_being_removed_is_not_served(home: Path, tmp_path: Path) -> None:
    model = store.add(home, "gone", models.write(tmp_path / "gone"))
    outcome: list[str] = []

    def serve() -> None:
        try:
            with store.serving(model):
                outcome.append("served")
        except NotFound as error:
            outcome.append(error.message)

    with (model.folder / store.MANIFEST).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        serving = threading.Thread(target=serve)
        serving.start()
        time.sleep(0.2)  # it waits for the lock
        (model.folder / store.MANIFEST).unlink()
    serving.join()

    assert outcome == ["The model `gone` has just been removed."]
