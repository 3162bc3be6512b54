"""Models leave in one file and come in again; what is no such file does not."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jan.errors import Conflict, InvalidRequest, Misconfigured
from jan.runner import archive, store
from jan.runner.store import MANIFEST, Model
from tests.runner import models


def quiet(_step: str, _share: float | None) -> None:
    """Report nothing."""


@pytest.fixture
def model(home: Path, tmp_path: Path) -> Model:
    """A model of the store, with a file in a folder."""
    folder = models.write(tmp_path / "org-tiny")
    (folder / "deep").mkdir()
    (folder / "deep" / "file.bin").write_bytes(b"x" * 3_000_000)
    return store.add(home, "org/tiny", folder)


def exported(model: Model) -> bytes:
    """Write it."""
    target = io.BytesIO()
    archive.export(model, target, quiet)
    return target.getvalue()


def rewritten(data: bytes, change: Any) -> io.BytesIO:
    """Write an archive anew: `change` takes each entry and its content, and gives others."""
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=target, mode="w") as new,
    ):
        for entry in old:
            content = old.extractfile(entry)
            assert content is not None
            for changed, body in change(entry, content.read()):
                changed.size = len(body) if changed.isreg() else 0
                new.addfile(changed, io.BytesIO(body))
    target.seek(0)
    return target


def test_it_comes_out_as_it_went_in(home: Path, model: Model, tmp_path: Path) -> None:
    reports: list[float | None] = []
    data = exported(model)
    store.remove(home, "org/tiny")

    again = archive.take_in(home, io.BytesIO(data), lambda _, share: reports.append(share))

    assert (again.name, again.files, again.source) == (model.name, model.files, model.source)
    assert (again.folder / "deep" / "file.bin").read_bytes() == b"x" * 3_000_000
    assert reports[-1] == 1
    assert len({*reports}) > len(model.files)  # within a file, too
    with pytest.raises(Conflict):
        archive.take_in(home, io.BytesIO(data), quiet)
    assert archive.take_in(home, io.BytesIO(data), quiet, name="other").name == "other"


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Make an entry."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


EVIL = {
    "a file more": lambda e, b: [(e, b), (entry("evil"), b"x")] if e.name == MANIFEST else [(e, b)],
    "a way out": lambda e, b: [(e, b), (entry("../evil"), b"x")],
    "an absolute name": lambda e, b: [(e, b), (entry("/tmp/evil"), b"x")],
    "twice the same": lambda e, b: [(e, b), (e, b)] if e.name != MANIFEST else [(e, b)],
    "a link": lambda e, b: [
        (entry(e.name, tarfile.SYMTYPE, "/etc/passwd"), b"") if "config" in e.name else (e, b)
    ],
    "a hard link": lambda e, b: [
        (entry(e.name, tarfile.LNKTYPE, "config.json"), b"") if "deep" in e.name else (e, b)
    ],
    "a device": lambda e, b: [
        (entry(e.name, tarfile.CHRTYPE), b"") if "config" in e.name else (e, b)
    ],
    "less": lambda e, b: [(e, b)] if "deep" not in e.name else [],
    "longer": lambda e, b: [(e, b + b"x" if "deep" in e.name else b)],
    "other bytes": lambda e, b: [(e, b[:-1] + b"y" if "deep" in e.name else b)],
    "no manifest": lambda e, b: [] if e.name == MANIFEST else [(e, b)],
    "a manifest of a way out": lambda e, b: [
        (e, b.replace(b"deep/file.bin", b"../../e.bin") if e.name == MANIFEST else b)
    ],
    "a manifest of nonsense": lambda e, b: [(e, b"{}" if e.name == MANIFEST else b)],
    "a manifest without end": lambda e, b: [(e, b"[" * 99_999 if e.name == MANIFEST else b)],
    "a name that is none": lambda e, b: [
        (e, b.replace(b"org/tiny", b"../../up") if e.name == MANIFEST else b)
    ],
}


@pytest.mark.parametrize("evil", EVIL)
def test_what_is_not_as_it_says_is_refused(home: Path, model: Model, evil: str) -> None:
    data = exported(model)
    store.remove(home, "org/tiny")

    with pytest.raises(InvalidRequest):
        archive.take_in(home, rewritten(data, EVIL[evil]), quiet)

    assert store.models(home) == []
    assert not list(home.rglob("evil"))
    assert store.used_bytes(home) == 0


def test_a_header_without_end_is_not_read(home: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**33

    with pytest.raises(InvalidRequest, match="too long"):
        archive.take_in(home, io.BytesIO(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)), quiet)


@pytest.mark.parametrize("files", [["a", "a/b"], ["x" * 300], ["a\n"], ["./a"], ["a//b"], [".a"]])
def test_names_that_no_folder_can_have_are_refused(files: list[str]) -> None:
    said = {"name": "m", "source": "s", "revision": None, "note": None}
    said |= {"files": {name: {"size_bytes": 1, "sha256": "0" * 64} for name in files}}
    said |= {"added_at": "2026-01-01T00:00:00Z"}

    with pytest.raises(InvalidRequest):
        store.read_manifest(json.dumps(said).encode())


@pytest.mark.parametrize("length", [0, 1, 600, 5000, 1_000_000])
def test_what_is_cut_off_is_refused(home: Path, model: Model, length: int) -> None:
    data = exported(model)
    store.remove(home, "org/tiny")

    with pytest.raises(InvalidRequest):
        archive.take_in(home, io.BytesIO(data[:length]), quiet)

    assert store.models(home) == []
    assert store.used_bytes(home) == 0


def test_the_store_takes_no_more_than_it_may(home: Path, model: Model, tmp_path: Path) -> None:
    data = exported(model)

    with pytest.raises(Misconfigured, match="may hold 4 MB"):
        archive.take_in(home, io.BytesIO(data), quiet, name="second", max_bytes=4_000_000)
    with pytest.raises(Misconfigured, match="may hold"):
        store.add(home, "third", models.write(tmp_path / "third"), max_bytes=3_000_000)

    assert [each.name for each in store.models(home)] == ["org/tiny"]


def test_progress_of_an_export_is_told_within_a_file(model: Model) -> None:
    reports: list[float] = []

    archive.export(model, io.BytesIO(), lambda _, share: reports.append(share or 0))

    assert len({*reports}) > 2 + len(model.files)
    assert reports == sorted(reports)
    assert reports[-1] == 1


def test_what_links_lead_to_counts_and_what_is_hidden_does_not(home: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(models.safetensors(100_000))
    snapshot = models.write(tmp_path / "snapshot")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(blob)
    clone = models.write(tmp_path / "clone")
    (clone / ".git").mkdir()
    (clone / ".git" / "pack").write_bytes(bytes(100_000))

    with pytest.raises(Misconfigured, match="may hold 50 kB"):
        store.add(home, "snapshot", snapshot, max_bytes=50_000)
    assert store.add(home, "clone", clone, max_bytes=50_000).size_bytes < 1000


def test_a_link_to_nothing_is_told(home: Path, tmp_path: Path) -> None:
    folder = models.write(tmp_path / "tiny")
    (folder / "vocab.txt").symlink_to(tmp_path / "absent")

    with pytest.raises(InvalidRequest, match="can't be read"):
        store.add(home, "tiny", folder)
