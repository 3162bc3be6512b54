"""Only what vLLM can load gets into the store, under a name that leads nowhere else."""

import hashlib
import json
from pathlib import Path

import pytest

from jan.errors import Conflict, InvalidRequest, NotFound
from jan.runner import store
from tests.runner import models


def test_an_added_model_is_found_with_its_files(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")

    model = store.add(home, "org/tiny", folder)

    assert store.find(home, "org/tiny") == model
    assert store.models(home) == [model]
    assert model.source == str(folder)
    assert sorted(model.files) == ["config.json", "model.safetensors", "tokenizer.json"]
    weights = model.files["model.safetensors"]
    assert weights.sha256 == hashlib.sha256(models.safetensors()).hexdigest()
    assert model.size_bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_a_model_stays_when_its_first_folder_is_deleted(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    model = store.add(home, "tiny", folder)

    for path in folder.iterdir():
        path.unlink()

    assert (model.folder / "model.safetensors").read_bytes() == models.safetensors()


def test_links_of_a_hub_cache_are_followed(home: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(models.safetensors())
    folder = models.write(tmp_path / "snapshot")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(blob)

    model = store.add(home, "tiny", folder)

    assert not (model.folder / "model.safetensors").is_symlink()
    assert (model.folder / "model.safetensors").read_bytes() == models.safetensors()


@pytest.mark.parametrize(
    "name", ["", "..", "../up", "a/../../b", "/root", "a/b/c", ".staging", "a b", "a/", "x" * 97]
)
def test_a_name_that_leads_elsewhere_is_refused(home: Path, tmp_path: Path, name: str) -> None:
    folder = models.write(tmp_path / "tiny")

    with pytest.raises(InvalidRequest, match="can't be the name"):
        store.add(home, name, folder)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(
    home: Path, tmp_path: Path, missing: str, words: str
) -> None:
    folder = models.write(tmp_path / "tiny")
    (folder / missing).unlink()

    with pytest.raises(InvalidRequest, match=words):
        store.add(home, "tiny", folder)
    assert store.models(home) == []


def test_weights_that_are_cut_off_are_refused(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(models.safetensors(100)[:-1])

    with pytest.raises(InvalidRequest, match="cut off"):
        store.add(home, "tiny", folder)


def test_a_pointer_in_place_of_weights_is_refused(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(InvalidRequest, match="not a safetensors file"):
        store.add(home, "tiny", folder)


def test_a_missing_shard_is_named(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(InvalidRequest, match=r"lacks model-2\.safetensors"):
        store.add(home, "tiny", folder)


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_one_model_never_lies_inside_another(
    home: Path, tmp_path: Path, first: str, second: str
) -> None:
    folder = models.write(tmp_path / "tiny")
    model = store.add(home, first, folder)

    with pytest.raises(Conflict):
        store.add(home, second, folder)
    assert store.models(home) == [model]


def test_a_removed_model_is_gone_and_its_name_free(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    store.add(home, "org/tiny", folder)

    store.remove(home, "org/tiny")

    assert store.models(home) == []
    with pytest.raises(NotFound):
        store.get(home, "org/tiny")
    store.add(home, "org", folder)
