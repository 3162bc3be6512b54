"""Who is at the other end: what proxies say is believed only of those that are trusted."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jan import clients, trust
from jan.clients import Proxies
from jan.gateway.front import Front
from jan.telemetry import Exchange
from tests.gateways import serving

TRUSTED = ("127.0.0.2", "10.0.0.0/8", "fd00::/8")
PROXIES = Proxies(tuple(trust.network(entry) for entry in TRUSTED))
PROXY = "127.0.0.2"
STRANGER = "127.0.0.3"

Header = tuple[str, str]


async def _tell(scope: Any, _receive: Any, send: Any) -> None:
    """Answer with what is known of the client."""
    told = {
        "address": clients.address_of(scope),
        "secure": clients.is_secure(scope),
        "secure_cookie": clients.wants_secure_cookie(scope),
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@pytest.fixture(scope="module")
async def url(anyio_backend: str) -> AsyncIterator[str]:
    """A server that trusts some proxies."""
    front = Front(_tell, list[Exchange]().append, proxies=PROXIES)
    async with serving(front) as (url, _):
        yield url


async def _ask(url: str, peer: str, *headers: Header, host: str = "localhost") -> dict[str, Any]:
    """Connect from an address of this machine, which has all that begin with 127."""
    transport = httpx.AsyncHTTPTransport(local_address=peer, verify=False)
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get(url, headers=[("host", host), *headers])
    return answer.json()


def _scope(peer: tuple[str, int] | None, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    state = {"proxies": PROXIES}
    return {"scheme": "http", "client": peer, "headers": headers, "state": state}


def _for(*lists: str) -> list[Header]:
    return [("x-forwarded-for", one) for one in lists]


@pytest.mark.parametrize(
    ("lists", "address"),
    [
        ([], PROXY),
        (["198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7:51234"], "198.51.100.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:DB8:0::7]:443"], "2001:db8::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        # Through proxies of ours, whose addresses stand at the right.
        (["198.51.100.7, 10.0.0.1"], "198.51.100.7"),
        (["198.51.100.7,10.0.0.1:80 ,  fd00::5"], "198.51.100.7"),
        (["198.51.100.7", "10.0.0.1", "[fd00::5]:80"], "198.51.100.7"),
        (["198.51.100.7, ,10.0.0.1,"], "198.51.100.7"),
        # What the client put there itself, to the left.
        (["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (["10.0.0.9, 198.51.100.7"], "198.51.100.7"),
        (["127.0.0.1, 198.51.100.7, 10.0.0.1"], "198.51.100.7"),
        (["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        # A client within a trusted network.
        (["10.0.0.9"], "10.0.0.9"),
        (["10.0.0.9, 10.0.0.1"], "10.0.0.9"),
        # Garbage: the last address that somebody trusted has vouched for.
        (["unknown"], PROXY),
        (["198.51.100.7, unknown"], PROXY),
        (["198.51.100.7, _hidden, 10.0.0.1"], "10.0.0.1"),
        (["198.51.100.7.1"], PROXY),
        (["198.51.100.07"], PROXY),
        (["<script>"], PROXY),
        (["\u00b2.1.1.1"], PROXY),
        ([""], PROXY),
    ],
)
async def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    url: str, lists: list[str], address: str
) -> None:
    told = await _ask(url, PROXY, *[(name, _latin(text)) for name, text in _for(*lists)])

    assert told["address"] == address


def _latin(text: str) -> Any:
    return text.encode("latin-1")  # httpx would write UTF-8


@pytest.mark.parametrize("lists", [["198.51.100.7"], ["198.51.100.7, 127.0.0.2"], ["10.0.0.1"]])
async def test_a_stranger_is_not_believed(url: str, lists: list[str]) -> None:
    headers = [*_for(*lists), ("x-forwarded-proto", "https")]
    told = await _ask(url, STRANGER, *headers)

    assert told["address"] == STRANGER
    assert not told["secure"]


@pytest.mark.parametrize("name", ["forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip"])
async def test_other_headers_are_not_believed_from_anyone(url: str, name: str) -> None:
    value = "for=198.51.100.7;proto=https" if name == "forwarded" else "198.51.100.7"
    told = await _ask(url, PROXY, (name, value))

    assert told["address"] == PROXY
    assert not told["secure"]


@given(st.lists(st.binary(max_size=30), max_size=3), st.binary(max_size=60))
def test_nothing_that_a_client_writes_moves_it(lists: list[bytes], claim: bytes) -> None:
    spoken = [*lists, claim + b",198.51.100.7", b"10.0.0.1"]
    headers = [(b"x-forwarded-for", value) for value in spoken]

    assert clients.address_of(_scope((PROXY, 5), headers)) == "198.51.100.7"


async def test_an_endless_chain_is_not_followed(url: str) -> None:
    chain = ["198.51.100.7", *(f"10.0.{number // 250}.{number % 250}" for number in range(2000))]
    told = await _ask(url, PROXY, *_for(", ".join(chain)))

    assert told["address"] == chain[-clients.MAX_HOPS]


@pytest.mark.parametrize(
    ("addresses", "schemes", "is_secure"),
    [
        ([], [], False),
        ([], ["https"], True),
        ([], ["HTTPS"], True),
        ([], ["http"], False),
        ([], ["wss"], False),
        (["198.51.100.7"], ["https"], True),
        # One proxy: only what it added itself.
        (["198.51.100.7"], ["https, http"], False),
        (["198.51.100.7"], ["http, https"], True),
        (["198.51.100.7"], ["https", "http"], False),
        ([], ["https, http"], False),
        # Two: the outer one speaks to the client, the inner one to the outer.
        (["198.51.100.7, 10.0.0.1"], ["https, http"], True),
        (["198.51.100.7, 10.0.0.1"], ["https"], True),
        (["198.51.100.7, 10.0.0.1"], ["https, http, http"], False),
        (["203.0.113.1, 198.51.100.7, 10.0.0.1"], ["https, http, https"], False),
    ],
)
async def test_the_scheme_is_what_the_outermost_proxy_saw(
    url: str, addresses: list[str], schemes: list[str], is_secure: bool
) -> None:
    said = [("x-forwarded-proto", scheme) for scheme in schemes]
    told = await _ask(url, PROXY, *_for(*addresses), *said)

    assert told["secure"] == is_secure


@pytest.mark.parametrize(
    ("peer", "host", "headers", "is_secure"),
    [
        # A browser on this machine.
        ("127.0.0.1", "localhost:8080", [], False),
        ("127.0.0.1", "127.0.0.1:8080", [], False),
        ("127.0.0.1", "[::1]:8080", [], False),
        ("127.0.0.1", "jan.localhost", [], False),
        # Whatever may be a proxy on this machine that nobody has named.
        ("127.0.0.1", "jan.example.com", [], True),
        ("127.0.0.1", "localhost.example.com", [], True),
        ("127.0.0.1", "localhost", _for("127.0.0.1"), True),
        ("127.0.0.1", "localhost", [("via", "1.1 nginx")], True),
        ("127.0.0.1", "localhost", [("x-forwarded-proto", "http")], True),
        # A proxy that is trusted.
        (PROXY, "localhost", [*_for("127.0.0.1"), ("x-forwarded-proto", "http")], False),
        (PROXY, "localhost", [*_for("127.0.0.1"), ("x-forwarded-proto", "https")], True),
        (PROXY, "localhost", [*_for("198.51.100.7"), ("x-forwarded-proto", "http")], True),
    ],
)
async def test_cookies_are_secure_unless_a_browser_speaks_to_its_own_machine(
    url: str, peer: str, host: str, headers: list[Header], is_secure: bool
) -> None:
    told = await _ask(url, peer, *headers, host=host)

    assert told["secure_cookie"] == is_secure


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("10.0.0.1", 5), "198.51.100.7"),
        (("::ffff:10.0.0.1", 5), "198.51.100.7"),
        (("fd00::1", 5), "198.51.100.7"),
        (("2001:db8::1", 5), "2001:db8::1"),
        (("fe80::1%eth0", 5), "fe80::1"),
        (None, ""),
    ],
)
def test_peers_may_be_of_any_kind(peer: tuple[str, int] | None, address: str) -> None:
    scope = _scope(peer, [(b"x-forwarded-for", b"198.51.100.7")])

    assert clients.address_of(scope) == address
    assert clients.wants_secure_cookie(scope)


def test_outside_of_the_gateway_nobody_is_trusted() -> None:
    scope = _scope(("10.0.0.1", 5), [(b"x-forwarded-for", b"198.51.100.7")])
    del scope["state"]

    assert clients.address_of(scope) == "10.0.0.1"
