"""The model store of this node, for other Jans that copy from it: by who administers all of it."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

import msgspec
from anyio import to_thread

from jan.caller import Caller
from jan.errors import NotFound
from jan.permissions import Scope
from jan.runner import store
from jan.runner.store import MANIFEST

CHUNK_BYTES = 1024 * 1024


class StoredModel(msgspec.Struct, frozen=True):
    """A model of the store."""

    id: str
    size_bytes: int
    source: str
    object: str = "stored_model"


class StoredModels(msgspec.Struct, frozen=True):
    """All of them: there are few."""

    data: list[StoredModel]
    object: str = "list"


class Content(msgspec.Struct, frozen=True):
    """A file of a model."""

    path: Path
    size_bytes: int


async def page(caller: Caller, home: Path) -> StoredModels:
    """List the models."""
    caller.require(Scope.PLATFORM_ADMIN)
    found = await to_thread.run_sync(store.models, home)
    return StoredModels([StoredModel(m.name, m.size_bytes, m.source) for m in found])


async def manifest(caller: Caller, home: Path, name: str) -> bytes:
    """Read a model's manifest: what it consists of, with checksums.

    Raises:
        NotFound: there is no such model.
        InvalidRequest: that is no name.
    """
    caller.require(Scope.PLATFORM_ADMIN)

    def read() -> bytes:
        return (store.get(home, name).folder / MANIFEST).read_bytes()

    return await to_thread.run_sync(read)


async def content(caller: Caller, home: Path, sha256: str) -> Content:
    """Find a file by its checksum, among those that manifests name.

    Raises:
        NotFound: there is none.
    """
    caller.require(Scope.PLATFORM_ADMIN)

    def find() -> Content | None:
        for model in store.models(home):
            for path, file in model.files.items():
                if file.sha256 == sha256:
                    return Content(model.folder / path, file.size_bytes)
        return None

    found = await to_thread.run_sync(find)
    if found is None:
        raise NotFound("There is no such file in the model store.")
    return found


async def read(file: BinaryIO, size_bytes: int) -> AsyncGenerator[bytes]:
    """Read so much of an open file, in threads, and close it."""
    left_bytes = size_bytes
    with file:
        while left_bytes > 0:
            chunk = await to_thread.run_sync(file.read, min(CHUNK_BYTES, left_bytes))
            if not chunk:
                return
            left_bytes -= len(chunk)
            yield chunk
