"""What browsers are told: which pages may read an answer, and what nobody may do with it."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jan import trust
from jan.gateway import origins
from jan.gateway.front import Front
from jan.gateway.origins import Origins
from jan.telemetry import Exchange
from tests.fakes import DONE, MODEL, FakeUpstream, Reply, Seen, chat_chunk
from tests.gateways import KEY, Gateway, running_gateway, serving, until

APP = "https://app.example.com"
ALLOWED = (APP, "https://*.example.org", "http://*.localhost:3000", "tauri://localhost")
PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}
SECURITY = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
PROXY, STRANGER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    """A gateway that some pages may call, behind a proxy."""
    proxies = (trust.network(PROXY),)
    async with running_gateway(
        upstream.url, allowed_origins=ALLOWED, trusted_proxies=proxies
    ) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


def _cors(answer: httpx.Response) -> dict[str, str]:
    prefix = "access-control-"
    return {
        name.removeprefix(prefix): value
        for name, value in answer.headers.items()
        if name.startswith(prefix)
    }


def _granted(origin: str) -> dict[str, str]:
    return {
        "allow-origin": origin,
        "allow-credentials": "true",
        "expose-headers": "X-Request-ID, request-id, Mcp-Session-Id, Retry-After, WWW-Authenticate",
    }


@pytest.mark.parametrize(
    "origin",
    [
        APP,
        "https://a.example.org",
        "https://a.b.example.org",
        "https://a-1.xn--bcher-kva.example.org",
        "http://app.localhost:3000",
        "tauri://localhost",
    ],
)
async def test_a_page_of_an_allowed_origin_may_read_with_credentials(
    client: httpx.AsyncClient, origin: str
) -> None:
    answer = await client.get("/v1/models", headers={"origin": origin})

    assert answer.status_code == 200
    assert _cors(answer) == _granted(origin)
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://other.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.",
        "https://app.example.com.evil.com",
        "https://app.example.com@evil.com",
        "https://example.org",
        "https://evilexample.org",
        "https://.example.org",
        "https://a..example.org",
        "https://evil.com/.example.org",
        "https://evil.com:1.example.org",
        "https://evil.com#.example.org",
        "https://a.example.org:8443",
        "https://a.example.org.evil.com",
        "http://a.example.org",
        "http://app.localhost",
        "http://localhost:3000",
        "tauri://other",
        "https://*.example.org",
        "*",
        "null",
        "",
        "https://" + "a." * 300 + "example.org",
    ],
)
def test_an_origin_is_allowed_as_a_whole_or_not_at_all(origin: str) -> None:
    judge = Origins(ALLOWED)

    assert not judge.headers(origin.encode())
    assert judge.preflight(origin.encode(), [(b"access-control-request-method", b"GET")]) is None


@given(st.text("aA0-._:/@?#*[]%", max_size=12))
def test_what_a_wildcard_lets_in_is_below_the_name(between: str) -> None:
    origin = f"https://{between}.example.org"
    if Origins(ALLOWED).headers(origin.encode()):
        parts = urlsplit(origin)
        assert parts.netloc == parts.hostname == f"{between}.example.org"
        assert all(parts.netloc.split("."))


@pytest.mark.parametrize("origin", ["https://evilexample.org", "null"])
async def test_a_page_of_another_origin_may_not_read(
    client: httpx.AsyncClient, origin: str
) -> None:
    answer = await client.get("/v1/models", headers={"origin": origin})
    preflight = await client.options("/v1/models", headers=PREFLIGHT | {"origin": origin})

    assert answer.status_code == 200  # Jan refuses nothing: it is the browser that keeps it
    assert _cors(answer) == _cors(preflight) == {}
    assert answer.headers["vary"] == "Origin"


async def test_without_an_origin_only_caches_are_told(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models")

    assert _cors(answer) == {}
    assert answer.headers["vary"] == "Origin"


async def test_unless_told_otherwise_no_page_may_read(upstream: FakeUpstream) -> None:
    async with running_gateway(upstream.url) as gateway, gateway.client() as client:
        answer = await client.get("/v1/models", headers={"origin": APP})
        preflight = await client.options("/livez", headers=PREFLIGHT)

    assert _cors(answer) == _cors(preflight) == {}
    assert "vary" not in answer.headers
    assert preflight.headers["allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("origin", [APP, "https://evil.com", "null", None])
async def test_where_any_origin_is_allowed_none_gets_credentials(
    upstream: FakeUpstream, origin: str | None
) -> None:
    headers = {"origin": origin} if origin else {}
    async with (
        running_gateway(upstream.url, allowed_origins=("*",)) as gateway,
        gateway.client() as client,
    ):
        answer = await client.get("/v1/models", headers=headers)
        if origin:
            preflight = await client.options(PATH, headers=PREFLIGHT | headers)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in preflight.headers

    expected = _granted("*")
    del expected["allow-credentials"]
    assert _cors(answer) == expected


@pytest.mark.parametrize("path", [PATH, "/v1/models", "/livez", "/nowhere"])
async def test_a_preflight_is_answered_without_a_key(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    async with gateway.client(None) as client:
        answer = await client.options(path, headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.content == b""
    assert "content-length" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    assert answer.headers["x-request-id"].startswith("req_")
    assert _cors(answer) == _granted(APP) | {
        "allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "allow-headers": "authorization,content-type,x-stainless-lang",
        "max-age": "7200",
    }
    assert not upstream.requests
    assert not gateway.rows


async def test_a_page_may_send_whatever_header_it_asks_for(gateway: Gateway) -> None:
    lists = [
        "authorization",
        "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,x-api-key",
        "authorization, openai-organization ,\topenai-project",
        "mcp-protocol-version,mcp-session-id,traceparent,x_odd~name",
    ]
    async with gateway.client(None) as client:
        for names in lists:
            asked = PREFLIGHT | {"access-control-request-headers": names}
            answer = await client.options(PATH, headers=asked)
            assert answer.headers["access-control-allow-headers"] == names


async def test_what_is_no_list_of_headers_is_not_repeated(gateway: Gateway) -> None:
    lists = ["", "a b", "a,,b", "<script>", "a:b", "a;q=1", "a," * 3000 + "a"]
    async with gateway.client(None) as client:
        for names in lists:
            asked = PREFLIGHT | {"access-control-request-headers": names}
            answer = await client.options(PATH, headers=asked)
            assert answer.status_code == 204
            assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status", "allow"), [(PATH, 405, "POST"), ("/v1/models", 204, "GET, OPTIONS")]
)
async def test_options_that_are_no_preflight_tell_the_methods(
    client: httpx.AsyncClient, path: str, status: int, allow: str
) -> None:
    answer = await client.options(path, headers={"origin": APP})

    assert answer.status_code == status
    assert answer.headers["allow"] == allow
    assert _cors(answer) == _granted(APP)


async def test_a_stream_may_be_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=CHAT | {"stream": True}, headers={"origin": APP})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content.endswith(DONE)
    assert _cors(answer) == _granted(APP)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PATH, b"{}", 401),
        ("POST", "/v1/messages", b"{}", 401),
        ("GET", "/nowhere", b"", 404),
        ("GET", "/v1/models/other", b"", 404),
        ("DELETE", "/v1/models", b"", 405),
        ("POST", PATH, b"a" * 1_000_001, 413),
        ("POST", PATH, b"not json", 400),
    ],
)
async def test_a_refusal_may_be_read(
    gateway: Gateway, method: str, path: str, body: bytes, status: int
) -> None:
    async with gateway.client(None if status == 401 else KEY) as client:
        answer = await client.request(method, path, content=body, headers={"origin": APP})

    assert answer.status_code == status
    assert _cors(answer) == _granted(APP)
    assert answer.headers["content-security-policy"] == SECURITY["content-security-policy"]


async def test_a_failure_of_the_model_server_may_be_read(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def break_down(_: Seen, reply: Reply) -> None:
        await reply.events([chat_chunk("Hello")])

    upstream.script(PATH, break_down)
    broken = await client.post(PATH, json=CHAT | {"stream": True}, headers={"origin": APP})
    await upstream.kill()
    away = await client.post(PATH, json=CHAT, headers={"origin": APP})

    assert b'"error"' in broken.content
    assert away.status_code in {502, 503}
    assert _cors(broken) == _cors(away) == _granted(APP)


async def test_a_bug_may_be_read() -> None:
    async def fail(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError

    front = Front(fail, list[Exchange]().append, origins=Origins(ALLOWED))
    async with serving(front) as (url, _), httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/", headers={"origin": APP})

    assert answer.status_code == 500
    assert _cors(answer) == _granted(APP)


async def test_a_shutdown_may_be_read(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.front.passages.is_draining = True
    preflight = await client.options(PATH, headers=PREFLIGHT)
    answer = await client.post(PATH, json=CHAT, headers={"origin": APP})

    assert (preflight.status_code, answer.status_code) == (204, 503)
    assert preflight.headers["connection"] == answer.headers["connection"] == "close"
    assert answer.headers["retry-after"] == "1"
    assert _cors(answer) == _granted(APP)


async def test_what_was_decided_here_is_not_asked_of_the_model_server(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    said = {"origin": APP, "referer": APP, "x-forwarded-for": "10.0.0.1", "forwarded": "for=x"}
    await client.post(PATH, json=CHAT, headers=said | {"x-other": "kept"})

    assert not said.keys() & upstream.requests[0].headers.keys()
    assert upstream.requests[0].headers["x-other"] == "kept"


def test_only_so_many_origins_are_remembered() -> None:
    judge = Origins(ALLOWED)
    for number in range(2 * origins.MAX_REMEMBERED):
        judge.headers(b"https://%d.example.org" % number)
        judge.headers(b"https://" + b"a" * 10_000 + b"%d.example.org" % number)

    assert judge._remembered.cache_info().currsize <= origins.MAX_REMEMBERED
    assert judge.headers(APP.encode())


@pytest.mark.parametrize("path", ["/v1/models", "/livez", "/nowhere", PATH])
async def test_every_answer_is_fenced_in(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert SECURITY.items() <= dict(answer.headers).items()
    assert len(answer.headers.get_list("cache-control")) == 1


async def test_a_stream_says_for_itself_how_it_may_be_kept(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=CHAT | {"stream": True})

    assert answer.headers.get_list("cache-control") == ["no-cache"]
    assert answer.headers["content-security-policy"] == SECURITY["content-security-policy"]


async def test_a_page_has_a_policy_of_its_own() -> None:
    own = [
        (b"content-type", b"text/html"),
        (b"content-security-policy", b"default-src 'self'"),
        (b"cache-control", b"max-age=60"),
        (b"vary", b"Accept"),
    ]

    async def show(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b"<p>Hello"})

    front = Front(show, list[Exchange]().append, origins=Origins(ALLOWED))
    async with serving(front) as (url, _), httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/")

    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers.get_list("vary") == ["Accept", "Origin"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("peer", "scheme", "is_told"),
    [(PROXY, "https", True), (PROXY, "http", False), (STRANGER, "https", False)],
)
async def test_https_is_asked_for_only_where_it_is_spoken(
    gateway: Gateway, peer: str, scheme: str, is_told: bool
) -> None:
    transport = httpx.AsyncHTTPTransport(local_address=peer, verify=False)
    async with httpx.AsyncClient(transport=transport, base_url=gateway.url) as client:
        answer = await client.get("/livez", headers={"x-forwarded-proto": scheme})
        refusal = await client.get("/nowhere", headers={"x-forwarded-proto": scheme})

    for one in (answer, refusal):
        told = one.headers.get("strict-transport-security")
        assert told == ("max-age=15552000" if is_told else None)
