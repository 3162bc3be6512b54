"""Pulling from a hub: a small one of our own, reached through the command as users run it."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from jan.runner import store
from tests.runner import models

COMMIT = "c" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves one model, `org/tiny`, as the hub does."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}",
        "model.safetensors": models.safetensors(),
        "pytorch_model.bin": b"the same weights again",
    }
    is_cutting_off = False
    is_hanging = False
    is_damaging = False
    got: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.got.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/tiny/tree/"):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": _etag(body)}
                    for name, body in self.files.items()
                ]
            )
        elif path.startswith("/api/models/org/tiny"):
            siblings: list[dict[str, object]] = [
                {"rfilename": name, "size": len(body)} | _lfs(name, body)
                for name, body in self.files.items()
            ]
            self._json({"id": "org/tiny", "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            self._file(path.rpartition("/")[2])
        else:
            self._refuse()

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._send(200, body, {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        body = self.files[name]
        headers = {"ETag": f'"{_etag(body)}"', "X-Repo-Commit": COMMIT}
        if type(self).is_cutting_off and name.endswith(".safetensors") and self.command == "GET":
            self.close_connection = True
            self._send(200, body[:-1], {**headers, "Content-Length": str(len(body))})
            return
        if type(self).is_hanging and name.endswith(".safetensors") and self.command == "GET":
            self._send(200, body[:20], {**headers, "Content-Length": str(len(body))})
            self.wfile.flush()
            self.rfile.read(1)  # until the client is gone
            return
        if type(self).is_damaging and name.endswith(".safetensors"):
            body = body[:-1] + b"!"
        self._send(200, body, headers)

    def _refuse(self) -> None:
        self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Say nothing."""


def _etag(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _lfs(name: str, body: bytes) -> dict[str, object]:
    if not name.endswith(".safetensors"):
        return {}
    sha256 = hashlib.sha256(body).hexdigest()
    return {"lfs": {"sha256": sha256, "size": len(body), "pointerSize": 134}}


@pytest.fixture
def hub() -> Iterator[str]:
    """Address of the hub."""
    Hub.got.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def pull(
    home: Path, hub: str, name: str = "org/tiny", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `jan model pull`."""
    argv = [sys.executable, "-m", "jan", "--home", str(home), "model", "pull", name]
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home / "hf"), **more}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def test_a_pulled_model_is_in_the_store(home: Path, hub: str) -> None:
    done = pull(home, hub)

    model = store.get(home, "org/tiny")
    assert done.returncode == 0
    assert "jan serve --model org/tiny" in done.stderr
    assert (model.source, model.revision) == ("org/tiny", COMMIT)
    assert sorted(model.files) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_pull_that_broke_goes_on_where_it_was(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "is_cutting_off", True)
    broken = pull(home, hub)
    monkeypatch.setattr(Hub, "is_cutting_off", False)
    Hub.got.clear()

    done = pull(home, hub)

    assert broken.returncode == 1
    assert "goes on from there" in broken.stderr
    assert done.returncode == 0
    assert store.find(home, "org/tiny")


def test_a_pull_that_was_killed_fetches_only_the_files_that_are_missing(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "is_hanging", True)
    draft = store.staging(home, "org/tiny")
    notes = draft / ".cache" / "huggingface" / "download"
    argv = [sys.executable, "-m", "jan", "--home", str(home), "model", "pull", "org/tiny"]
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home / "hf")}
    halves: set[Path] = set()
    for _ in range(2):
        killed = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
        deadline_s = time.monotonic() + 30
        while not (
            set(draft.rglob("*.incomplete")) - halves
            and (notes / "config.json.metadata").exists()
            and (notes / "tokenizer.json.metadata").exists()
        ):
            assert time.monotonic() < deadline_s
            assert killed.poll() is None
            time.sleep(0.02)
        killed.kill()
        killed.communicate()
        halves = set(draft.rglob("*.incomplete"))
        assert len(halves) == 1  # those of earlier attempts take no room
    monkeypatch.setattr(Hub, "is_hanging", False)
    Hub.got.clear()

    done = pull(home, hub)

    assert done.returncode == 0, done.stderr
    assert set(store.get(home, "org/tiny").files) == {
        *("config.json", "model.safetensors", "tokenizer.json")
    }
    fetched = {path.rpartition("/")[2] for path in Hub.got if "/resolve/" in path}
    assert fetched == {"model.safetensors"}
    assert not list(store.folder_of(home).rglob("*.incomplete"))


def test_what_is_hidden_is_not_fetched(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "files", Hub.files | {".eval/x.yaml": b"x", "deep/.DS_Store": b"x"})

    assert pull(home, hub).returncode == 0
    data = (store.get(home, "org/tiny").folder / store.MANIFEST).read_bytes()
    assert len(store.read_manifest(data).files) == 3  # so that it can be copied and exported


def test_what_came_damaged_is_fetched_again(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "is_damaging", True)
    broken = pull(home, hub)
    monkeypatch.setattr(Hub, "is_damaging", False)

    assert broken.returncode == 1
    assert "`model.safetensors` came damaged" in broken.stderr
    assert store.models(home) == []
    assert pull(home, hub).returncode == 0


def test_what_would_not_fit_is_not_fetched(home: Path, hub: str) -> None:
    done = pull(home, hub, JAN_MODEL_STORE_MAX_BYTES="20")

    assert done.returncode == 1
    assert "may hold 20 bytes" in done.stderr
    assert "jan model prune" in done.stderr
    assert not any("/resolve/" in path for path in Hub.got)


def test_a_model_that_the_hub_has_not_is_told(home: Path, hub: str) -> None:
    done = pull(home, hub, "org/absent")

    assert done.returncode == 1
    assert "has no model `org/absent`" in done.stderr


def test_a_hub_out_of_reach_is_told_at_once(home: Path) -> None:
    done = pull(home, "http://127.0.0.1:1")

    assert done.returncode == 1
    assert "Can't fetch `org/tiny` from http://127.0.0.1:1" in done.stderr
    assert "jan model add FOLDER" in done.stderr
    assert store.models(home) == []
