"""Jan as an MCP server, as the official SDK's client sees it, in every version that it speaks."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from jan.db.engine import Database
from tests.fakes import MODEL, FakeUpstream
from tests.gateways import DEADLINE_S, KEY, Gateway, running_gateway, until
from tests.mcp.peers import MODES, Echo, connected


@pytest.fixture
def echo() -> Echo:
    """The one tool that there is."""
    return Echo()


@pytest.fixture
async def gateway(upstream: FakeUpstream, echo: Echo) -> AsyncIterator[Gateway]:
    """A gateway with that echo."""
    async with running_gateway(upstream.url, toolbox=echo.toolbox()) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


@pytest.mark.parametrize("path", ["/v1/mcp", "/v1/conv/mcp"])
@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_and_called(gateway: Gateway, mode: str, path: str) -> None:
    async with connected(gateway.url + path, mode=mode) as client:
        tools = (await client.list_tools()).tools
        result = await client.call_tool("echo", {"text": "hi"})

    assert [tool.name for tool in tools] == ["echo"]
    assert tools[0].input_schema["properties"] == {"text": {"type": "string"}}
    assert [block.text for block in result.content if block.type == "text"] == ["hi"]
    assert not result.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_progress_is_told(gateway: Gateway, mode: str) -> None:
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total))

    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        await client.call_tool("echo", {"text": "hi"}, progress_callback=hear)

    assert heard == [(0, 1), (1, 1)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"fail": 1, "text": "no"}, "no"), ({"refuse": 1}, "Error: `text` does not fit."),
     ({"text": 1}, "Error: The argument `text` must be of type string.")],
)  # fmt: skip
async def test_a_tool_that_fails_is_an_answer(
    gateway: Gateway, mode: str, arguments: dict[str, object], said: str
) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        result = await client.call_tool("echo", arguments)

    assert result.is_error
    assert [block.text for block in result.content if block.type == "text"] == [said]


@pytest.mark.parametrize("mode", MODES)
async def test_of_a_bug_nothing_is_told(gateway: Gateway, mode: str) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        with pytest.raises(MCPError, match="Something went wrong") as failure:
            await client.call_tool("echo", {"crash": 1})

    assert failure.value.code == -32603


@pytest.mark.parametrize("mode", MODES)
async def test_an_unknown_tool_is_an_error(gateway: Gateway, mode: str) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        with pytest.raises(MCPError, match="Unknown tool: rm") as failure:
            await client.call_tool("rm", {})

    assert failure.value.code == -32602


@pytest.mark.parametrize("mode", MODES)
async def test_models_are_resources(gateway: Gateway, database: Database, mode: str) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        (document,) = (await client.read_resource(f"jan://models/{MODEL}")).contents

    assert [str(resource.uri) for resource in resources] == [f"jan://models/{MODEL}"]
    assert "jan://models/{+id}" in [template.uri_template for template in templates]
    assert f'"id":"{MODEL}"' in getattr(document, "text", "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "uri",
    ["jan://models/none", "jan://models/", "jan://secrets/x", "file:///etc/passwd", "jan://models"],
)
async def test_what_is_no_resource_is_answered_alike(gateway: Gateway, mode: str, uri: str) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        with pytest.raises(MCPError, match="There is no such resource") as failure:
            await client.read_resource(uri)

    assert failure.value.code == -32602


@pytest.mark.parametrize("cursor", ["x", "?", "a" * 1000, "c2VjcmV0czo="])
async def test_a_cursor_of_nothing_is_refused(gateway: Gateway, cursor: str) -> None:
    async with connected(f"{gateway.url}/v1/mcp") as client:
        with pytest.raises(MCPError, match="none of this list's") as failure:
            await client.list_resources(cursor=cursor)

    assert failure.value.code == -32602


async def test_a_hundred_calls_run_at_once(gateway: Gateway, echo: Echo) -> None:
    async def call(number: int) -> str:
        mode = MODES[number % len(MODES)]
        async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
            result = await client.call_tool("echo", {"text": str(number), "wait": 1})
            return getattr(result.content[0], "text", "")

    calls = [asyncio.create_task(call(number)) for number in range(100)]
    with anyio.fail_after(60):
        while echo.running < 100:
            await asyncio.sleep(0.01)
        echo.go.set()
        said = await asyncio.gather(*calls)

    assert said == [str(number) for number in range(100)]
    assert echo.most == 100


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_stops_the_tool(gateway: Gateway, echo: Echo, mode: str) -> None:
    async def call() -> None:
        async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
            await client.call_tool("echo", {"wait": 1})

    calling = asyncio.create_task(call())
    await until(lambda: echo.running)
    calling.cancel()
    await asyncio.wait([calling])

    await until(lambda: echo.cancelled == 1)
    await until(lambda: not gateway.front.running)


async def test_a_call_finishes_while_the_process_drains(gateway: Gateway, echo: Echo) -> None:
    async with connected(f"{gateway.url}/v1/mcp") as client:
        await client.list_tools()  # it would ask while it checks the result
        calling = asyncio.create_task(client.call_tool("echo", {"text": "hi", "wait": 1}))
        await until(lambda: echo.running)
        gateway.relay.passages.is_draining = True
        with pytest.raises(MCPError):
            await client.call_tool("echo", {})
        echo.go.set()
        with anyio.fail_after(DEADLINE_S):
            result = await calling
        gateway.relay.passages.is_draining = False

    assert getattr(result.content[0], "text", "") == "hi"


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_is_cut_when_the_grace_is_over(
    gateway: Gateway, echo: Echo, mode: str
) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode=mode) as client:
        calling = asyncio.create_task(client.call_tool("echo", {"wait": 1}))
        await until(lambda: echo.running)
        gateway.relay.passages.cut()
        await until(lambda: echo.cancelled == 1)
        with anyio.fail_after(DEADLINE_S), pytest.raises(MCPError):
            await calling

    await until(lambda: any(row.error_code == "shutting_down" for row in gateway.rows))


async def test_a_call_leaves_a_row(gateway: Gateway) -> None:
    async with connected(f"{gateway.url}/v1/mcp", mode="2026-07-28") as client:
        await client.call_tool("echo", {"text": "hi"})
    await until(lambda: gateway.rows)

    row = gateway.rows[-1]
    assert (row.path, row.status, row.method) == ("/v1/mcp", 200, "POST")
    assert row.request_bytes > 0
    assert row.caller is not None


async def test_a_wrong_key_is_refused(gateway: Gateway) -> None:
    with pytest.raises(ExceptionGroup):
        async with connected(f"{gateway.url}/v1/mcp", key=KEY + "x"):
            raise AssertionError
