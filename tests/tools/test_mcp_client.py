"""Remote MCP servers, well-behaved and hostile: what comes of each, within which bounds."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from jan.errors import ToolServerFailed, ToolTimedOut, UrlRefused
from jan.net.guard import Guard
from jan.net.policy import Policy
from jan.tools.mcp_client import Limits, connect
from tests.fakes import Reply, Seen
from tests.gateways import CALLER, until
from tests.tools import mcp_peers
from tests.tools.mcp_peers import Peer, guard, serving, site, tool

BRIEF = Limits(connect_timeout_s=0.7, list_timeout_s=0.7, call_timeout_s=0.5, max_bytes=262_144)
PATIENT = Limits(connect_timeout_s=20, list_timeout_s=20, call_timeout_s=20)


@pytest.mark.parametrize("stateless", [True, False])
async def test_tools_are_listed_and_called(stateless: bool) -> None:
    peer = Peer(page=2)
    async with (
        serving(peer, stateless=stateless) as url,
        guard(url) as way,
        connect(way, url, label="peer", headers={"x-secret": "s"}, limits=PATIENT) as remote,
    ):
        listing = await remote.listing()
        answers = await asyncio.gather(
            *(remote.call("add", {"a": number, "b": 1}) for number in range(10))
        )
        failed = await remote.call("fail", {})
        picture = await remote.call("picture", {})
        by_tool = await listing.tools[0].call(CALLER, {"a": 2, "b": 3})

    assert [each.name for each in listing.tools] == ["add", "fail", "slow", "picture"]
    assert {each.server for each in listing.tools} == {"peer"}
    assert [answer.text for answer in answers] == [str(number + 1) for number in range(10)]
    assert failed.is_error
    assert picture.text == "[image: image/png]"
    assert by_tool.text == "5"
    assert {headers["x-secret"] for headers in peer.headers} == {"s"}


async def test_a_slow_tool_is_given_up_and_others_go_on() -> None:
    peer = Peer()
    async with serving(peer) as url, guard(url) as way:
        limits = Limits(call_timeout_s=1)
        async with connect(way, url, label="peer", limits=limits) as remote:
            with pytest.raises(ToolTimedOut, match="`peer` did not answer within 1 seconds"):
                await remote.call("slow", {})
            await until(lambda: peer.cancelled == 1)
            after = await remote.call("add", {"a": 1, "b": 1})

    assert after.text == "2"


async def test_who_is_cancelled_stops_the_call() -> None:
    peer = Peer()
    async with (
        serving(peer) as url,
        guard(url) as way,
        connect(way, url, label="peer", limits=PATIENT) as remote,
    ):
        calling = asyncio.create_task(remote.call("slow", {}))
        await until(lambda: peer.calls == 1)
        calling.cancel()
        await until(lambda: peer.cancelled == 1)
        assert (await remote.call("add", {"a": 1, "b": 1})).text == "2"


async def test_an_error_of_ones_own_comes_out_as_it_is() -> None:
    async with serving(Peer()) as url, guard(url) as way:
        with pytest.raises(KeyError, match="mine"):
            async with connect(way, url, label="peer", limits=PATIENT):
                raise KeyError("mine")


Script = Callable[[Seen, Reply], Awaitable[None]]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (mcp_peers.hang, "did not answer within 0.7 seconds"),
        (mcp_peers.begin_and_hang, "did not answer within 0.7 seconds"),
        (mcp_peers.drip, "did not answer within 0.7 seconds"),
        (mcp_peers.flood, "longer than 262144 bytes"),
        (mcp_peers.flood_events, "longer than 262144 bytes"),
        (mcp_peers.babble, "could not be understood"),
        (mcp_peers.page, "content type"),
        (mcp_peers.die, "could not be understood|broke off"),
        (mcp_peers.nothing, "202"),
        (mcp_peers.deny, r"does not accept the credentials \(status 401\)"),
        (mcp_peers.break_down, "answered with status 500"),
        (mcp_peers.elsewhere, "which is not followed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_server_that_misbehaves_becomes_a_sentence(script: Script, said: str) -> None:
    async with site() as hostile:
        hostile.script("/mcp", script)
        url = f"{hostile.url}/mcp"
        async with guard(url) as way:
            with (
                anyio.fail_after(8),
                pytest.raises((ToolServerFailed, ToolTimedOut), match=said) as failure,
            ):
                async with connect(way, url, label="peer", limits=BRIEF):
                    raise AssertionError

    assert "`peer`" in str(failure.value)
    assert "169.254" not in str(failure.value)


async def test_nobody_there_is_told() -> None:
    async with site() as gone:
        url = f"{gone.url}/mcp"
    async with guard(url) as way:
        with pytest.raises(ToolServerFailed, match="no connection could be made"):
            async with connect(way, url, label="peer", limits=BRIEF):
                raise AssertionError


async def test_the_guard_stands_before_it() -> None:
    async with serving(Peer()) as url, Guard(Policy(ports=frozenset({80}))) as way:
        with pytest.raises(UrlRefused, match="`peer` can't be used"):
            async with connect(way, url, label="peer", limits=BRIEF):
                raise AssertionError


async def test_tools_that_cant_be_used_are_left_out() -> None:
    peer = Peer(
        tool("add"),
        tool("rm -rf"),
        tool("x" * 65),
        tool("bad_type", a={"type": 7}),
        tool("long", a={"description": "x" * 70_000}),
    )
    async with (
        serving(peer) as url,
        guard(url) as way,
        connect(way, url, label="peer", limits=PATIENT) as remote,
    ):
        listing = await remote.listing()

    assert [each.name for each in listing.tools] == ["add", "fail", "slow", "picture"]
    assert len(listing.left_out) == 5
    assert "another tool of this name" in listing.left_out[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([tool(f"t{number}") for number in range(300)], "more than 128 tools"),
        (
            [tool(f"t{number}", a={"description": "x" * 60_000}) for number in range(6)],
            "more than 262144 bytes",
        ),
    ],
)
async def test_a_server_that_lists_without_end_is_refused(more: list[object], said: str) -> None:
    peer = Peer(*more)  # pyright: ignore[reportArgumentType] - tools
    async with (
        serving(peer) as url,
        guard(url) as way,
        connect(way, url, label="peer", limits=PATIENT) as remote,
    ):
        with pytest.raises(ToolServerFailed, match=said):
            await remote.listing()


async def test_a_server_that_dies_in_between_is_told() -> None:
    async with serving(Peer()) as url:
        way = guard(url)
        opened = connect(way, url, label="peer", limits=PATIENT)
        remote = await opened.__aenter__()
    with pytest.raises(ToolServerFailed):
        await remote.call("add", {"a": 1, "b": 1})
    with pytest.raises(ToolServerFailed):
        await remote.listing()
    await opened.__aexit__(None, None, None)
    await way.__aexit__(None, None, None)
