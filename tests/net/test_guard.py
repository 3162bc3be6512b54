"""Fetching through the guard from sites that lie, lead astray, drag on or blow up."""

import asyncio
import gzip
import socket
import time
import zlib
from pathlib import Path

import httpx2
import pytest

from jan.errors import UrlNotFetched, UrlRefused
from tests.fakes import Reply, Seen
from tests.gateways import until
from tests.mail.servers import make_certificate
from tests.net.sites import Names, guard, running_site


async def test_a_document_is_fetched() -> None:
    async with running_site() as site, guard(site.port) as outbound:
        site.page("/a", "grüße".encode(), "text/plain; charset=utf-8")

        fetched = await outbound.fetch(f"{site.url}/a?b=c#d")

    assert fetched.url == f"{site.url}/a?b=c"
    assert fetched.content_type == "text/plain; charset=utf-8"
    assert fetched.body.decode() == "grüße"
    assert site.requests[0].target == "/a?b=c"


@pytest.mark.parametrize(
    "host",
    [
        *("2130706434", "0x7f000002", "0x7f.0.0.2", "017700000002", "127.2", "127.0.2"),
        *("127.0.0.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "localhost", "localhost.", "0"),
        *("[::1]", "[::]", "[64:ff9b::7f00:2]", "[2002:7f00:2::]"),
    ],
)
async def test_no_spelling_of_a_private_address_is_let_through(host: str) -> None:
    """127.0.0.1 alone is allowed here; this machine's real resolver reads the spellings."""
    async with running_site("127.0.0.2") as secret, guard(secret.port, allow=()) as outbound:
        with pytest.raises(UrlNotFetched) as refused:
            await outbound.fetch(f"http://{host}:{secret.port}/")

    assert isinstance(refused.value, UrlRefused)
    assert secret.connections == 0


async def test_one_bad_answer_beside_a_good_one_refuses_the_host() -> None:
    names = Names()
    async with running_site() as site, guard(site.port, names=names) as outbound:
        names.say("two.test", ["127.0.0.1", "127.0.0.2"])

        with pytest.raises(UrlRefused):
            await outbound.fetch(site.named("two.test"))

    assert site.connections == 0


async def test_dns_that_changes_its_mind_is_asked_once() -> None:
    """A good answer for the check and a bad one for the connection: there is only one question."""
    names = Names()
    async with running_site() as site, running_site("127.0.0.2", site.port) as secret:
        names.say("rebinding.test", ["127.0.0.1"], ["127.0.0.2"])
        async with guard(site.port, names=names) as outbound:
            await outbound.fetch(site.named("rebinding.test"))

    assert names.asked == ["rebinding.test"]
    assert len(site.requests) == 1
    assert site.requests[0].headers["host"] == f"rebinding.test:{site.port}"
    assert secret.connections == 0


async def test_dns_that_changed_is_checked_for_the_next_connection() -> None:
    names = Names()
    async with running_site() as site, running_site("127.0.0.2", site.port) as secret:
        site.page("/", b"hello", connection="close")
        names.say("rebinding.test", ["127.0.0.1"], ["127.0.0.2"])
        async with guard(site.port, names=names) as outbound:
            await outbound.fetch(site.named("rebinding.test"))
            with pytest.raises(UrlRefused):
                await outbound.fetch(site.named("rebinding.test"))

    assert secret.connections == 0


async def test_a_host_whose_first_address_is_dead_is_reached_by_its_second() -> None:
    names = Names()
    async with running_site() as site:
        names.say("two.test", ["127.0.0.3", "127.0.0.1"])
        async with guard(site.port, names=names, allow=["127.0.0.0/8"]) as outbound:
            fetched = await outbound.fetch(site.named("two.test"))

    assert fetched.body == b"hello"


async def test_a_host_that_is_not_there() -> None:
    async with guard(80, names=Names()) as outbound:
        with pytest.raises(UrlNotFetched, match="no such host"):
            await outbound.fetch("http://nowhere.test/")


async def test_a_name_that_dns_can_not_have() -> None:
    async with guard(80) as outbound:
        with pytest.raises(UrlNotFetched, match="no such host"):
            await outbound.fetch(f"http://{'a' * 64}.com/")


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(status: int) -> None:
    async with running_site() as site, guard(site.port) as outbound:
        site.redirect("/a", "/b", status)
        site.page("/b", b"there")

        fetched = await outbound.fetch(f"{site.url}/a")

    assert (fetched.url, fetched.body) == (f"{site.url}/b", b"there")


@pytest.mark.parametrize(
    "location",
    [
        *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/"),
        *("http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://0x7f000002:{port}/"),
        *("http://127.2.:{port}/", "http://[::ffff:127.0.0.2]:{port}/", "http://[::1]:{port}/"),
        *("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:{port}/", "data:,x"),
        *("http://user:password@127.0.0.1:{port}/", "http://127.0.0.1:22/"),
    ],
)
async def test_a_redirect_to_where_nothing_is_fetched_is_refused(location: str) -> None:
    async with running_site() as site, running_site("127.0.0.2", site.port) as secret:
        site.redirect("/", location.format(port=site.port))
        async with guard(site.port, 80) as outbound:
            with pytest.raises(UrlRefused) as refused:
                await outbound.fetch(f"{site.url}/")

    assert secret.connections == 0
    assert "127.0.0.2" not in refused.value.message
    assert "169.254" not in refused.value.message


async def test_a_redirect_to_nowhere() -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.whole(b"", 302)

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="sent to nowhere"):
            await outbound.fetch(f"{site.url}/")


async def test_redirects_in_a_circle_end() -> None:
    async with running_site() as site, guard(site.port, max_redirects=3) as outbound:
        site.redirect("/a", "/b")
        site.redirect("/b", "/a")

        with pytest.raises(UrlNotFetched, match="more than 3 times"):
            await outbound.fetch(f"{site.url}/a")

    assert len(site.requests) == 4


async def test_credentials_stay_with_the_first_origin() -> None:
    secrets = {"authorization": "Bearer s", "cookie": "s=1", "x-api-key": "s", "x-whatever": "s"}
    async with running_site() as site, running_site() as other:
        site.redirect("/", "/near")
        site.redirect("/near", f"{other.url}/far")
        other.redirect("/far", f"{site.url}/back")
        site.page("/back", b"back")
        async with guard(site.port, other.port) as outbound:
            await outbound.fetch(f"{site.url}/", headers={**secrets, "accept-language": "de"})

    first, near, back = (seen.headers for seen in site.requests)
    far = other.requests[0].headers
    assert secrets.items() <= first.items()
    assert secrets.items() <= near.items()
    assert secrets.keys().isdisjoint(far)
    assert far["accept-language"] == "de"
    assert secrets.keys().isdisjoint(back)


async def test_cookies_of_a_site_are_not_kept() -> None:
    async with running_site() as site, guard(site.port) as outbound:
        site.page("/", b"hello", set_cookie="session=of-somebody")

        await outbound.fetch(f"{site.url}/")
        await outbound.fetch(f"{site.url}/")

    assert "cookie" not in site.requests[1].headers


# Answers that are too much


async def test_an_answer_that_says_it_is_too_long_is_not_read() -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
            await reply.stall()

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="longer than 100000 bytes"):
            await outbound.fetch(f"{site.url}/")


async def test_an_answer_without_end_is_cut() -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.head(content_type="text/plain")
            while True:
                await reply.chunk(b"x" * 10_000)

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="longer than 100000 bytes"):
            await outbound.fetch(f"{site.url}/")


@pytest.mark.parametrize("limit", [100_000, 50_000_000])
async def test_a_bomb_does_not_go_off(limit: int) -> None:
    """Half a gigabyte in half a megabyte: no more of it is unpacked than is taken."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(512)) + packer.flush()
    async with running_site() as site, guard(site.port, max_bytes=limit) as outbound:
        site.page("/", bomb, content_encoding="gzip")

        with pytest.raises(UrlNotFetched, match=f"longer than {limit} bytes"):
            await outbound.fetch(f"{site.url}/")


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"hello" * 1000, mtime=0),
        gzip.compress(b"hello" * 400, mtime=0) + gzip.compress(b"hello" * 600, mtime=0),
        zlib.compress(b"hello" * 1000),
    ],
)
async def test_packed_answers_are_unpacked(packed: bytes) -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.head(content_encoding="gzip")
            for at in range(0, len(packed), 7):
                await reply.chunk(packed[at : at + 7])
            await reply.end()

        site.script("/", send)
        fetched = await outbound.fetch(f"{site.url}/")

    assert fetched.body == b"hello" * 1000
    assert site.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("gzip", b"no gzip at all", "not understood"),
        ("gzip", gzip.compress(b"hello" * 99, mtime=0)[:-9], "broke off"),
        ("br", b"xxx", "not asked for"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "not asked for"),
    ],
)
async def test_answers_that_are_packed_wrongly(encoding: str, body: bytes, why: str) -> None:
    async with running_site() as site, guard(site.port) as outbound:
        site.page("/", body, content_encoding=encoding)

        with pytest.raises(UrlNotFetched, match=why):
            await outbound.fetch(f"{site.url}/")


async def test_headers_without_end_are_cut() -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.raw(b"HTTP/1.1 200 OK\r\n")
            while True:
                await reply.raw(b"x-more: " + b"x" * 10_000 + b"\r\n")

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="no HTTP"):
            await outbound.fetch(f"{site.url}/")


@pytest.mark.parametrize(
    "said",
    [
        *(b"SSH-2.0-OpenSSH_9\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"),
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_answer_is_told_so(said: bytes) -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.raw(said)
            reply.close()

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="no HTTP"):
            await outbound.fetch(f"{site.url}/")


@pytest.mark.parametrize("status", [204, 400, 404, 500, 304])
async def test_a_status_that_brings_no_document(status: int) -> None:
    async with running_site() as site, guard(site.port) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            await reply.raw(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())

        site.script("/", send)
        if status == 204:
            assert (await outbound.fetch(f"{site.url}/")).body == b""
        else:
            with pytest.raises(UrlNotFetched, match=f"status {status}"):
                await outbound.fetch(f"{site.url}/")


# Time


@pytest.mark.parametrize("where", ["head", "body", "drip"])
async def test_a_site_that_takes_its_time_is_left(where: str) -> None:
    async with running_site() as site, guard(site.port, timeout_s=0.3) as outbound:

        async def send(_: Seen, reply: Reply) -> None:
            if where != "head":
                await reply.head(content_type="text/plain")
            while where == "drip":
                await reply.chunk(b"x")
                await asyncio.sleep(0.02)
            await reply.stall()

        site.script("/", send)
        started_s = time.monotonic()
        with pytest.raises(UrlNotFetched, match=r"longer than 0\.3 seconds"):
            await outbound.fetch(f"{site.url}/")

    assert time.monotonic() - started_s < 3
    await until(lambda: site.running == 0)


async def test_redirects_that_take_their_time_are_counted_together() -> None:
    async with (
        running_site() as site,
        guard(site.port, timeout_s=0.3, max_redirects=50) as outbound,
    ):

        async def send(_: Seen, reply: Reply) -> None:
            await asyncio.sleep(0.05)
            await reply.whole(b"", 302, location="/")

        site.script("/", send)
        with pytest.raises(UrlNotFetched, match="seconds"):
            await outbound.fetch(f"{site.url}/")


async def test_a_connection_that_hangs_is_given_up() -> None:
    """A full queue of a listener that accepts nobody: the kernel drops what knocks."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for knocking in (first, second):
            knocking.setblocking(False)
            knocking.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        async with guard(port, timeout_s=0.3) as outbound:
            with pytest.raises(UrlNotFetched, match="seconds"):
                await outbound.fetch(f"http://127.0.0.1:{port}/")


async def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with guard(port) as outbound:
        with pytest.raises(UrlNotFetched, match="no connection"):
            await outbound.fetch(f"http://127.0.0.1:{port}/")


# TLS


async def test_a_certificate_must_name_the_host(tmp_path: Path) -> None:
    """The connection goes to an address, but the name in the URL is what is proven."""
    certificate = make_certificate(tmp_path, "right.test")
    names = Names()
    names.say("right.test", ["127.0.0.1"])
    names.say("wrong.test", ["127.0.0.1"])
    async with (
        running_site(tls=certificate.serving) as site,
        guard(site.port, names=names, tls=certificate.trusting) as outbound,
    ):
        assert (await outbound.fetch(site.named("right.test"))).body == b"hello"
        assert (await outbound.fetch(site.named("right.test."))).body == b"hello"
        for url in (site.named("wrong.test"), site.url):
            with pytest.raises(UrlNotFetched, match="certificate is not good"):
                await outbound.fetch(url)

    assert len(site.requests) == 2


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "right.test")
    names = Names()
    names.say("right.test", ["127.0.0.1"])
    async with (
        running_site(tls=certificate.serving) as site,
        guard(site.port, names=names) as outbound,
    ):
        with pytest.raises(UrlNotFetched, match="certificate is not good"):
            await outbound.fetch(site.named("right.test"))


async def test_a_site_that_is_silent_in_the_handshake_is_left() -> None:
    """This one waits for the end of a request that will never be readable to it."""
    async with running_site() as site, guard(site.port, timeout_s=0.3) as outbound:
        with pytest.raises(UrlNotFetched, match="seconds"):
            await outbound.fetch(site.url.replace("http:", "https:"))

        await until(lambda: not site.is_connected)


async def test_a_site_that_speaks_no_tls() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, guard(port) as outbound:
        with pytest.raises(UrlNotFetched, match="speaks no TLS"):
            await outbound.fetch(f"https://127.0.0.1:{port}/")


# Clients for libraries


async def test_a_client_is_guarded_too() -> None:
    async with running_site() as site, running_site("127.0.0.2", site.port) as secret:
        site.redirect("/away", f"{secret.url}/")
        async with guard(site.port) as outbound, outbound.client(headers={"x-key": "k"}) as client:
            fine = await client.post(f"{site.url}/", json={})
            away = await client.get(f"{site.url}/away")
            with pytest.raises(UrlRefused):
                await client.get(f"{secret.url}/")
            with pytest.raises(UrlRefused):
                await client.get("file:///etc/passwd")
            client.follow_redirects = True
            with pytest.raises(UrlRefused):
                await client.get(f"{site.url}/away")

    assert fine.text == "hello"
    assert site.requests[0].headers["x-key"] == "k"
    assert away.status_code == 302
    assert secret.connections == 0


async def test_answers_to_a_client_are_bounded() -> None:
    async with (
        running_site() as site,
        guard(site.port) as outbound,
        outbound.client(max_bytes=1000) as client,
    ):
        site.page("/bomb", gzip.compress(bytes(10_000_000)), content_encoding="gzip")
        site.page("/fits", gzip.compress(bytes(1000)), content_encoding="gzip")

        fits = await client.get(f"{site.url}/fits")
        with pytest.raises(UrlNotFetched, match="longer than 1000 bytes"):
            await client.get(f"{site.url}/bomb")

    assert fits.content == bytes(1000)


async def test_a_client_takes_no_proxy_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_site() as site, running_site() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with guard(site.port) as outbound, outbound.client() as client:
            await client.get(f"{site.url}/")
            await outbound.fetch(f"{site.url}/")

    assert len(site.requests) == 2
    assert proxy.connections == 0


async def test_what_a_client_could_not_fetch_has_httpx2_s_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with guard(port) as outbound, outbound.client() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")
