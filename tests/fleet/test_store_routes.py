"""One Jan copies models from another's store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jan import permissions
from jan.auth.cache import Credential
from jan.errors import Conflict, Forbidden, InvalidRequest, Misconfigured, NotFound, Unavailable
from jan.runner import peer, store
from tests.conftest import new_home
from tests.fakes import FakeUpstream, Reply, Seen
from tests.gateways import CALLER, KEY, Gateway, running_gateway
from tests.runner import models

BIG = bytes(range(256)) * 20_000


class Admin:
    """Whoever comes administers all of this Jan, or nothing of it."""

    def known(self, credential: Credential) -> Any:
        """Tell who it is."""
        scopes = permissions.KEY_KINDS["admin" if credential.token == KEY else "project"]
        return replace(CALLER, scopes=scopes)

    async def resolve(self, credential: Credential) -> Any:
        """The same."""
        return self.known(credential)


@pytest.fixture
async def theirs(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Path]]:
    """Another Jan, with `org/tiny` in its store."""
    home = new_home()
    folder = models.write(tmp_path / "tiny")
    (folder / "deep").mkdir()
    (folder / "deep" / "big.bin").write_bytes(BIG)
    store.add(home, "org/tiny", folder)
    async with running_gateway(
        upstream.url, credentials=Admin(), said={"home": str(home)}
    ) as gateway:
        yield gateway, home


@pytest.fixture
def upstream() -> FakeUpstream:
    """No model server is needed."""
    fake = FakeUpstream()
    fake.port = 9
    return fake


def address(gateway: Gateway, name: str = "org/tiny") -> str:
    """Say where a model is."""
    return f"jan+http://{gateway.url.removeprefix('http://')}/{name}"


async def pull(home: Path, said: str, key: str | None = KEY, **more: Any) -> store.Model:
    """Pull it, as the command does."""
    return await asyncio.to_thread(peer.pull, home, said, key, lambda _, __: None, **more)


async def test_a_model_is_copied_with_its_checksums(
    theirs: tuple[Gateway, Path], home: Path
) -> None:
    gateway, their_home = theirs

    model = await pull(home, address(gateway))

    original = store.get(their_home, "org/tiny")
    assert model.files == original.files
    assert model.source == address(gateway)
    assert (model.folder / "deep" / "big.bin").read_bytes() == BIG
    with pytest.raises(Conflict):
        await pull(home, address(gateway))


@pytest.mark.parametrize("had", [BIG[:1000], BIG, BIG + b"more", b"", b"wrong" * 10])
async def test_what_came_before_is_gone_on_from(
    theirs: tuple[Gateway, Path], home: Path, had: bytes
) -> None:
    draft = store.staging(home, "org/tiny")
    (draft / "deep").mkdir()
    (draft / "deep" / "big.bin").write_bytes(had)
    (draft / "stranger").write_bytes(b"x")
    if had.startswith(b"wrong"):
        with pytest.raises(InvalidRequest, match="damaged"):
            await pull(home, address(theirs[0]))

    model = await pull(home, address(theirs[0]))

    assert (model.folder / "deep" / "big.bin").read_bytes() == BIG
    assert not (model.folder / "stranger").exists()


async def test_what_is_refused(theirs: tuple[Gateway, Path], home: Path) -> None:
    gateway, _ = theirs
    with pytest.raises(NotFound):
        await pull(home, address(gateway, "absent"))
    for key in ("sk-other", None):
        with pytest.raises(Forbidden):
            await pull(home, address(gateway), key)
    with pytest.raises(Misconfigured, match="may hold"):
        await pull(home, address(gateway), max_bytes=1000)
    with pytest.raises(Unavailable):
        await pull(home, "jan+http://127.0.0.1:9/org/tiny")
    odd = ("jan+http://h\0st/x", f"jan+http://{'a' * 70}.x/x", "jan://[::1/x", "jan://h:99999/x")
    for said in ("jan://", "jan://host", "jan://h/../../x", "jan://u:p@h/x", *odd):
        with pytest.raises(InvalidRequest):
            await pull(home, said)

    assert store.models(home) == []


@pytest.mark.parametrize(
    ("said", "status", "length"),
    [
        (None, 200, len(BIG)),
        ("bytes=0-", 206, len(BIG)),
        ("bytes=100-", 206, len(BIG) - 100),
        (f"bytes={len(BIG)}-", 416, None),
        ("bytes=99999999999999999-", 416, None),
        ("bytes=-5", 200, len(BIG)),
        ("bytes=1-2,5-6", 200, len(BIG)),
        ("lines=1-", 200, len(BIG)),
        (f"bytes={'9' * 40}-", 200, len(BIG)),
    ],
)
async def test_ranges(
    theirs: tuple[Gateway, Path], said: str | None, status: int, length: int | None
) -> None:
    digest = hashlib.sha256(BIG).hexdigest()
    async with theirs[0].client() as client:
        headers = {"range": said} if said else {}
        answer = await client.get(f"/v1/admin/store/files/{digest}", headers=headers)

    assert answer.status_code == status
    if length is not None:
        assert answer.content == BIG[len(BIG) - length :]


@pytest.mark.parametrize(
    "path", ["models/../../secrets.toml", "models/%2e%2e/x", "files/..%2f..%2fx", "files/00"]
)
async def test_nothing_else_is_to_be_had(theirs: tuple[Gateway, Path], path: str) -> None:
    async with theirs[0].client() as client:
        answer = await client.get(f"/v1/admin/store/{path}")

    assert answer.status_code in {400, 404}


async def test_the_list_is_only_for_those_who_administer_all(
    theirs: tuple[Gateway, Path],
) -> None:
    async with theirs[0].client() as client, theirs[0].client("sk-other") as stranger:
        listed = (await client.get("/v1/admin/store/models")).json()["data"]
        refused = await stranger.get("/v1/admin/store/models")

    assert [(each["id"], each["object"]) for each in listed] == [("org/tiny", "stored_model")]
    assert refused.status_code == 403


@pytest.mark.parametrize("evil", ["redirect", "longer", "shorter", "huge manifest", "way out"])
async def test_a_hostile_peer_harms_nothing(home: Path, evil: str) -> None:
    sha = hashlib.sha256(b"x").hexdigest()
    name = "../../evil" if evil == "way out" else "config.json"
    manifest: dict[str, Any] = {"name": "tiny", "source": "s", "revision": None, "note": None}
    manifest |= {"files": {name: {"size_bytes": 1, "sha256": sha}}}
    manifest |= {"added_at": "2026-01-01T00:00:00Z"}
    fake = FakeUpstream()

    async def tell(_: Seen, reply: Reply) -> None:
        if evil == "redirect":
            await reply.json({}, 302, location="http://169.254.169.254/")
        elif evil == "huge manifest":
            await reply.head()
            for _megabyte in range(10):
                await reply.chunk(b" " * 1_000_000)
            await reply.end()
        else:
            await reply.json(manifest)

    async def send(_: Seen, reply: Reply) -> None:
        if evil == "longer":
            await reply.whole(b"x" * 10_000_000)
        else:
            await reply.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n")
            reply.close()

    fake.script("/v1/admin/store/models/tiny", tell)
    fake.script(f"/v1/admin/store/files/{sha}", send)
    await fake.start()
    try:
        with pytest.raises((InvalidRequest, Unavailable)):
            await pull(home, f"jan+http://127.0.0.1:{fake.port}/tiny")
    finally:
        await fake.kill()

    assert store.models(home) == []
    assert not list(home.rglob("evil"))
    assert all(path.stat().st_size <= 1 for path in home.rglob("config.json"))


async def test_a_model_that_is_removed_while_it_is_sent_is_sent_whole(
    theirs: tuple[Gateway, Path],
) -> None:
    gateway, home = theirs
    digest = hashlib.sha256(BIG).hexdigest()
    async with gateway.client() as client:
        request = client.build_request("GET", f"/v1/admin/store/files/{digest}")
        answer = await client.send(request, stream=True)
        store.remove(home, "org/tiny")
        assert await answer.aread() == BIG
        assert (await client.get(f"/v1/admin/store/files/{digest}")).status_code == 404
    assert isinstance(answer, httpx.Response)
