"""MCP's HTTP as it is on the wire, for clients that are not the SDK's."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from mcp.shared.auth import ProtectedResourceMetadata

from jan.caller import Caller
from jan.permissions import Scope
from tests.fakes import FakeUpstream
from tests.gateways import CALLER, Gateway, OneKey, running_gateway, until
from tests.mcp.peers import HANDSHAKES, MODES, Echo, connected
from tests.tenants import Tenants

ACCEPT = {"accept": "application/json, text/event-stream"}
INITIALIZE: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "x", "version": "1"},
}


def message(method: str, params: Any = None, message_id: Any = 1) -> dict[str, Any]:
    """Write a request."""
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params or {}}


def said(answer: httpx.Response) -> dict[str, Any]:
    """Read what the server said, whichever way it came."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        return json.loads(lines[-1].removeprefix("data: "))
    return answer.json()


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    """A gateway with one tool, that is called jan.example.com."""
    async with running_gateway(
        upstream.url,
        toolbox=Echo().toolbox(),
        names=frozenset({"gpu-box"}),
        allowed_origins=("https://app.example.com", "https://*.example.org"),
    ) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


@pytest.mark.parametrize("version", HANDSHAKES)
async def test_a_handshake_needs_no_session(client: httpx.AsyncClient, version: str) -> None:
    begun = await client.post(
        "/v1/mcp",
        json=message("initialize", INITIALIZE | {"protocolVersion": version}),
        headers=ACCEPT,
    )
    headers = ACCEPT | {"mcp-protocol-version": version}
    noted = await client.post(
        "/v1/mcp",
        json={"jsonrpc": "2.0", "method": "notifications/initialized"},
        headers=headers,
    )
    listed = await client.post("/v1/mcp", json=message("tools/list", None, 2), headers=headers)
    pinged = await client.post("/v1/mcp", json=message("ping", None, "p"), headers=headers)

    assert begun.status_code == 200
    assert "mcp-session-id" not in begun.headers
    assert said(begun)["result"]["protocolVersion"] == version
    assert said(begun)["result"]["serverInfo"]["name"] == "jan"
    assert set(said(begun)["result"]["capabilities"]) == {"tools", "resources", "prompts"}
    assert (noted.status_code, noted.content) == (202, b"")
    assert said(listed) == {"jsonrpc": "2.0", "id": 2, "result": said(listed)["result"]}
    assert [tool["name"] for tool in said(listed)["result"]["tools"]] == ["echo"]
    assert said(pinged) == {"jsonrpc": "2.0", "id": "p", "result": {}}


async def test_an_unknown_version_is_answered_with_one_that_is_spoken(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(
        "/v1/mcp",
        json=message("initialize", INITIALIZE | {"protocolVersion": "1999-01-01"}),
        headers=ACCEPT,
    )
    refused = await client.post(
        "/v1/mcp",
        json=message("tools/list"),
        headers=ACCEPT | {"mcp-protocol-version": "1999-01-01"},
    )

    assert said(answer)["result"]["protocolVersion"] in HANDSHAKES
    assert refused.status_code == 400
    assert "error" in refused.json()


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_is_nothing_to_listen_to_and_nothing_to_end(
    client: httpx.AsyncClient, method: str
) -> None:
    answer = await client.request(method, "/v1/mcp", headers=ACCEPT)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_a_batch_is_refused_in_words(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/mcp", json=[message("ping"), message("ping")], headers=ACCEPT)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32600
    assert "one by one" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "method", ["nope", "prompts/call", "resources/subscribe", "logging/setLevel", "tasks/list", ""]
)
async def test_an_unknown_method_is_an_error_of_its_own(
    client: httpx.AsyncClient, method: str
) -> None:
    answer = await client.post(
        "/v1/mcp", json=message(method, {"uri": "jan://x/y", "level": "info"}), headers=ACCEPT
    )

    assert said(answer)["error"]["code"] == -32601
    assert said(answer)["id"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"ping"',
        b"{}",
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}',
    ],
)
@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28"])
async def test_what_is_no_message_is_refused(
    client: httpx.AsyncClient, body: bytes, version: str | None
) -> None:
    headers = ACCEPT | {"content-type": "application/json"}
    if version:
        headers["mcp-protocol-version"] = version
    answer = await client.post("/v1/mcp", content=body, headers=headers)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] < 0
    assert len(answer.content) < 10_000


async def test_a_huge_body_is_refused(client: httpx.AsyncClient) -> None:
    huge = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"' + b"x" * 1_048_576 + b'"}}'

    whole = await client.post("/v1/mcp", content=huge, headers=ACCEPT)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(huge), 65_536):
            yield huge[at : at + 65_536]

    chunked = await client.post("/v1/mcp", content=pieces(), headers=ACCEPT)

    assert (whole.status_code, chunked.status_code) == (413, 413)
    assert whole.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("accept", ["application/json", "text/html", ""])
async def test_who_takes_no_stream_is_told(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.post("/v1/mcp", json=message("ping"), headers={"accept": accept})

    assert answer.status_code == 406


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("jan.localhost:1", 200),
        ("127.0.0.1:8080", 200),
        ("192.168.1.20:8080", 200),
        ("[::1]:8080", 200),
        ("gpu-box:8080", 200),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.evil.example.com:8080", 421),
        ("gpu-box.evil.example.com", 421),
        ("localhost:8080@evil", 421),
        ("localhost:port", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("path", ["/v1/mcp", "/.well-known/oauth-protected-resource/v1/mcp"])
async def test_only_names_of_its_own_are_answered(
    gateway: Gateway, host: str, status: int, path: str
) -> None:
    async with gateway.client() as client:
        method = "POST" if path == "/v1/mcp" else "GET"
        answer = await client.request(
            method,
            path,
            json=message("ping") if method == "POST" else None,
            headers=ACCEPT | {"host": host},
        )

    assert answer.status_code == status
    if status == 421:
        assert answer.json()["error"]["code"] == "unknown_host"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://gpu-box:8080", 200),
        ("https://app.example.com", 200),
        ("https://a.b.example.org", 200),
        ("http://localhost:6274", 200),
        ("http://127.0.0.1:6274", 200),
        ("https://evil.example.com", 403),
        ("http://gpu-box:8081", 403),
        ("https://app.example.com.evil.com", 403),
        ("http://localhost.evil.com", 403),
        ("null", 403),
    ],
)
async def test_only_trusted_pages_are_answered(
    gateway: Gateway, origin: str | None, status: int
) -> None:
    headers = ACCEPT | {"host": "gpu-box:8080"} | ({"origin": origin} if origin else {})
    async with gateway.client() as client:
        answer = await client.post("/v1/mcp", json=message("ping"), headers=headers)

    assert answer.status_code == status


async def test_without_a_key_it_is_told_how_to_come_in(gateway: Gateway) -> None:
    async with gateway.client(None) as client:
        answer = await client.post("/v1/mcp", json=message("ping"), headers=ACCEPT)
        told = answer.headers["www-authenticate"].partition('resource_metadata="')[2].rstrip('"')
        metadata = await client.get(told)
        others = [
            await client.get(f"/.well-known/oauth-protected-resource{path}")
            for path in ("", "/v1/conv/mcp")
        ]

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    read = ProtectedResourceMetadata.model_validate(metadata.json())
    assert str(read.resource) == f"{gateway.url}/v1/mcp"
    assert "tools:use" in (read.scopes_supported or [])
    assert [other.json()["resource"] for other in others] == [
        gateway.url,
        f"{gateway.url}/v1/conv/mcp",
    ]


async def test_the_public_url_is_what_is_told(upstream: FakeUpstream) -> None:
    async with (
        running_gateway(upstream.url, public_url="https://jan.example.com") as gateway,
        gateway.client(None) as client,
    ):
        answer = await client.get(
            "/.well-known/oauth-protected-resource/v1/mcp", headers={"host": "jan.example.com"}
        )

    assert answer.json()["resource"] == "https://jan.example.com/v1/mcp"


class Narrow(OneKey):
    """Knows the key, and lets it do one thing only."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = frozenset(scopes)

    def known(self, credential: Any) -> Caller | None:
        """Tell who holds it."""
        found = super().known(credential)
        return found and Caller(
            kind="key",
            scopes=self.scopes,
            organization_id="o",
            project_id="p",
            key_id=CALLER.key_id,
        )


@pytest.mark.parametrize("mode", MODES)
async def test_scopes_decide_what_is_listed(upstream: FakeUpstream, mode: str) -> None:
    echo = Echo()
    async with running_gateway(
        upstream.url, toolbox=echo.toolbox(), credentials=Narrow(Scope.CHAT_WRITE)
    ) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
            tools = (await client.list_tools()).tools
            resources = (await client.list_resources()).resources
            templates = (await client.list_resource_templates()).resource_templates
            prompts = (await client.list_prompts()).prompts
            with pytest.raises(Exception, match="Unknown tool"):
                await client.call_tool("echo", {"text": "x"})

    assert (tools, resources, templates, prompts) == ([], [], [], [])
    assert echo.callers == []


async def test_a_key_that_is_revoked_stops_working(tenants: Tenants) -> None:
    a = tenants.a
    async with tenants.client(a.project_key) as client:
        before = await client.post("/v1/mcp", json=message("ping"), headers=ACCEPT)
    revoked = await tenants.call(a.project_member, "DELETE", f"/v1/keys/{a.project_key.id}")
    async with tenants.client(a.project_key) as client:
        after = await client.post("/v1/mcp", json=message("ping"), headers=ACCEPT)

    assert (before.status_code, revoked.status_code) == (200, 200)
    assert after.status_code == 401
    assert "resource_metadata" in after.headers["www-authenticate"]


async def test_who_is_signed_in_comes_in_by_their_token(tenants: Tenants) -> None:
    async with tenants.client(tenants.a.project_member) as client:
        answer = await client.post("/v1/mcp", json=message("tools/list"), headers=ACCEPT)

    assert answer.status_code == 200
