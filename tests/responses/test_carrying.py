"""Responses whose tools Jan carries out: a real MCP server, a stand-in for SearXNG, real rows."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncOpenAI

from jan import settings
from jan.db.engine import Database
from jan.limits.buckets import Buckets
from jan.net.policy import Policy
from jan.responses.carrying import Carriers
from jan.tools import means
from jan.tools.local import Local
from jan.tools.mcp_client import connect
from jan.tools.page import PageReader
from jan.tools.servers import Servers
from jan.tools.toolbox import Tool
from jan.usage.schemas import ToolCallRow
from tests.conftest import execute, fetch
from tests.fakes import MODEL, FakeUpstream, Reply, Seen
from tests.gateways import KEY_SECRET, until, upstream
from tests.responses.chats import as_events, call, delta, end, usage
from tests.responses.stored import Served, outputs_of, serving
from tests.tools import mcp_peers, providers
from tests.tools.mcp_peers import Peer

__all__ = ["upstream"]


@dataclass
class Tooled:
    """What tests need of it."""

    served: Served
    peer: Peer
    url: str
    """Of the MCP server."""
    searxng: FakeUpstream
    rows: list[ToolCallRow] = field(default_factory=list[ToolCallRow])

    def mcp(self, **more: Any) -> dict[str, Any]:
        """The server, as a request names it."""
        named = {"type": "mcp", "server_label": "peer", "server_url": self.url}
        return named | {"require_approval": "never"} | more


@pytest.fixture
async def tooled(upstream: FakeUpstream, database: Database) -> AsyncIterator[Tooled]:
    rows: list[ToolCallRow] = []
    peer = Peer()
    searxng = await providers.started(search=providers.searxng_search)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(mcp_peers.serving(peer))
        guard = await stack.enter_async_context(mcp_peers.guard(url))
        said = settings.load({"searxng_url": searxng.url}, environ={}).settings
        toolbox = await stack.enter_async_context(
            means.opened(said, Local(PageReader(guard)), Buckets(database), rows.append)
        )
        place = url.split("/")[2]
        policy = Policy(allowed=(mcp_peers.destination(place),))
        carriers = Carriers(toolbox, guard, Servers(policy, KEY_SECRET))
        served = await stack.enter_async_context(serving(upstream, carriers=carriers))
        yield Tooled(served, peer, url, searxng, rows)
    await searxng.kill()


def says(upstream: FakeUpstream, *rounds: Sequence[dict[str, Any]]) -> None:
    """Let the model say one round after another."""
    left = list(rounds)

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(as_events(*left.pop(0), usage()))

    upstream.script("/v1/chat/completions", script)


def adds(a: int = 1, b: int = 2) -> list[dict[str, Any]]:
    """Write the round in which the model has two numbers added."""
    return [call(0, json.dumps({"a": a, "b": b}), "add"), end("tool_calls")]


ANSWER = [delta(content="It is 3."), end()]


async def test_a_real_server_is_called_and_the_call_is_booked(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, adds(), ANSWER)

    answer = await tooled.served.ask(tools=[tooled.mcp(authorization="canary-1")])

    listed, done, message = answer["output"]
    assert {tool["name"] for tool in listed["tools"]} >= {"add", "fail", "slow"}
    assert (done["output"], done["status"]) == ("3", "completed")
    assert message["content"][0]["text"] == "It is 3."
    assert tooled.peer.headers[0]["authorization"] == "Bearer canary-1"
    [row] = tooled.rows
    assert (row.tool, row.server, row.outcome) == ("add", "peer", "completed")
    assert row.response_id == answer["id"]
    assert await outputs_of(answer["id"]) == answer["output"]
    kept = await fetch("SELECT r::text AS row FROM response AS r")
    assert "canary-1" not in kept[0]["row"]


async def test_a_response_goes_on_from_calls_that_were_made(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, adds(), ANSWER, [delta(content="Three."), end()])
    first = await tooled.served.ask(tools=[tooled.mcp()])

    await tooled.served.ask(
        "again?", previous_response_id=first["id"], tools=[tooled.mcp()], stream=False
    )

    said = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in said] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert said[2]["content"] == "3"


async def test_what_the_server_calls_an_error_is_told_to_the_model(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, [call(0, "{}", "fail"), end("tool_calls")], ANSWER)

    answer = await tooled.served.ask(tools=[tooled.mcp()])

    done = answer["output"][1]
    assert done["status"] == "failed"
    assert done["error"]["type"] == "mcp_tool_execution_error"
    assert tooled.rows[0].outcome == "failed"


async def test_arguments_that_do_not_fit_are_not_sent(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, [call(0, '{"a":"x","b":2}', "add"), end("tool_calls")], ANSWER)

    answer = await tooled.served.ask(tools=[tooled.mcp()])

    assert tooled.peer.calls == 0
    assert "`a`" in answer["output"][1]["error"]["content"][0]["text"]


async def test_a_place_that_is_not_allowed_is_told_and_done_without(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, ANSWER)

    answer = await tooled.served.ask(
        tools=[tooled.mcp(server_url="http://169.254.169.254/latest/meta-data")]
    )

    assert answer["output"][0]["error"] is not None
    assert answer["output"][0]["tools"] == []
    assert answer["status"] == "completed"


async def test_a_client_that_leaves_ends_the_call(tooled: Tooled, upstream: FakeUpstream) -> None:
    says(upstream, [call(0, "{}", "slow"), end("tool_calls")], ANSWER)
    asking = asyncio.create_task(tooled.served.post(tools=[tooled.mcp()], stream=True))
    await until(lambda: tooled.peer.calls)

    asking.cancel()

    await until(lambda: tooled.rows)
    assert tooled.rows[0].outcome == "cancelled"
    await until(lambda: tooled.peer.cancelled)


async def test_the_web_is_searched_and_cited(tooled: Tooled, upstream: FakeUpstream) -> None:
    page = "https://en.wikipedia.org/wiki/Cat"
    says(
        upstream,
        [call(0, '{"query":"cats"}', "web_search"), end("tool_calls")],
        [delta(content=f"A small carnivore ([Cat]({page}))."), end()],
    )

    answer = await tooled.served.ask(
        tools=[{"type": "web_search", "filters": {"allowed_domains": ["wikipedia.org"]}}]
    )

    search, message = answer["output"]
    assert {"type": "url", "url": page} in search["action"]["sources"]
    [citation] = message["content"][0]["annotations"]
    assert (citation["url"], citation["title"]) == (page, "Cat")
    asked = providers.asked(tooled.searxng.requests[0])
    assert asked["q"] == "cats (site:wikipedia.org)"
    assert page in upstream.requests[1].json["messages"][-1]["content"]
    assert [row.tool for row in tooled.rows] == ["google_search"]


async def test_a_provider_that_is_down_is_told_to_the_model(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await tooled.searxng.kill()
    says(upstream, [call(0, '{"query":"cats"}', "web_search"), end("tool_calls")], ANSWER)

    answer = await tooled.served.ask(tools=[{"type": "web_search"}])

    assert answer["output"][0]["status"] == "failed"
    assert answer["status"] == "completed"
    assert upstream.requests[1].json["messages"][-1]["content"].startswith("Error: ")


async def registered(tooled: Tooled, **more: Any) -> None:
    """Have the server registered for Ann's project."""
    values = {"require_approval": "never", "allowed_tools": None} | more
    await execute(
        "INSERT INTO mcp_server (id, project_id, organization_id, label, url, require_approval,"
        " allowed_tools) VALUES ('mcps_1', $1, $2, 'sums', $3, $4, $5)",
        *(tooled.served.ann.project_id, tooled.served.ann.owning_organization_id, tooled.url),
        *(values["require_approval"], values["allowed_tools"]),
    )


async def tools_of(tooled: Tooled) -> Sequence[Tool]:
    """What the server has, as the check that goes round finds it."""
    async with (
        mcp_peers.guard(tooled.url) as guard,
        connect(guard, tooled.url, label="sums") as remote,
    ):
        return (await remote.listing()).tools


async def test_a_registered_server_is_named_by_its_label_or_id(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await registered(tooled, allowed_tools=["add"])
    for name in ("sums", "mcps_1"):
        says(upstream, adds(), ANSWER)
        answer = await tooled.served.ask(
            tools=[{"type": "mcp", "server_label": "sums", "connector_id": name}]
        )
        assert [tool["name"] for tool in answer["output"][0]["tools"]] == ["add"]
        assert answer["output"][1]["output"] == "3"


async def test_a_registration_decides_what_the_request_leaves_open(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await registered(tooled, require_approval="always")
    says(upstream, adds())

    answer = await tooled.served.ask(
        tools=[{"type": "mcp", "server_label": "sums", "connector_id": "sums"}]
    )

    assert answer["output"][1]["type"] == "mcp_approval_request"
    assert tooled.peer.calls == 0


async def test_a_stranger_s_registration_is_not_found(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await registered(tooled)
    says(upstream, ANSWER)

    answer = await tooled.served.stranger.post(
        "/v1/responses",
        json={
            "model": MODEL,
            "input": "hi",
            "tools": [{"type": "mcp", "server_label": "sums", "connector_id": "mcps_1"}],
        },
    )

    assert "No MCP server `mcps_1`" in answer.json()["output"][0]["error"]


async def test_leave_is_given_in_the_next_response(tooled: Tooled, upstream: FakeUpstream) -> None:
    says(upstream, adds(), ANSWER)
    careful = tooled.mcp(require_approval="always")
    first = await tooled.served.ask(tools=[careful])
    request = first["output"][1]

    second = await tooled.served.ask(
        [{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}],
        previous_response_id=first["id"],
        tools=[careful],
    )

    assert tooled.peer.calls == 1
    assert second["output"][0]["approval_request_id"] == request["id"]
    assert second["output"][0]["output"] == "3"


async def test_credentials_are_not_left_lying_for_the_background(tooled: Tooled) -> None:
    answer = await tooled.served.post(
        background=True, tools=[tooled.mcp(headers={"x-key": "canary-1"})]
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tools[0]"
    assert await fetch("SELECT id FROM response") == []


async def test_a_hundred_calls_at_once_are_all_answered(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    calls = [call(n, json.dumps({"a": n, "b": 0}), "add", id=f"call_{n}") for n in range(50)]
    says(upstream, [*calls, end("tool_calls")], [*calls, end("tool_calls")], ANSWER, ANSWER)

    answers = await asyncio.gather(
        tooled.served.ask(tools=[tooled.mcp()]), tooled.served.ask(tools=[tooled.mcp()])
    )

    for answer in answers:
        done = [item for item in answer["output"] if item["type"] == "mcp_call"]
        assert sorted(int(item["output"]) for item in done) == list(range(50))


async def test_openais_own_client_follows_the_stream(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    says(upstream, adds(), ANSWER)
    client = AsyncOpenAI(base_url=f"{tooled.served.gateway.url}/v1", api_key="ann")

    async with (
        client,
        client.responses.stream(
            model=MODEL,
            input="add",
            tools=[tooled.mcp()],  # pyright: ignore[reportArgumentType] - a plain dict
        ) as stream,
    ):
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()

    assert "response.mcp_call.completed" in kinds
    assert [item.type for item in final.output] == ["mcp_list_tools", "mcp_call", "message"]
    assert final.output_text == "It is 3."


async def test_what_no_database_holds_is_replaced(tooled: Tooled, upstream: FakeUpstream) -> None:
    conversation = await tooled.served.client.post("/v1/conversations", json={})
    nasty = {"type": "object", "properties": {"x": {"description": "a\x00b"}}}
    tooled.peer.tools.append(mcp_peers.types.Tool(name="nasty", input_schema=nasty))
    says(upstream, [call(0, json.dumps({"x": "a\x00b"}), "nasty"), end("tool_calls")], ANSWER)

    answer = await tooled.served.ask(tools=[tooled.mcp()], conversation=conversation.json()["id"])

    assert answer["status"] == "completed"
    assert "\x00" not in json.dumps(answer["output"][0], ensure_ascii=False)
    assert await outputs_of(answer["id"]) == answer["output"]
    items = await tooled.served.client.get(f"/v1/conversations/{conversation.json()['id']}/items")
    assert len(items.json()["data"]) == 4


async def test_a_server_whose_tools_are_known_is_not_asked_for_them(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await registered(tooled)
    known = [tool.described for tool in await tools_of(tooled)]
    await execute("UPDATE mcp_server SET tools = $1", json.dumps(known))
    listings = tooled.peer.listings
    says(upstream, ANSWER)

    answer = await tooled.served.ask(
        tools=[{"type": "mcp", "server_label": "sums", "connector_id": "sums"}]
    )

    assert {tool["name"] for tool in answer["output"][0]["tools"]} >= {"add", "slow"}
    assert tooled.peer.listings == listings


async def test_where_no_tool_is_allowed_none_is_called(
    tooled: Tooled, upstream: FakeUpstream
) -> None:
    await registered(tooled, allowed_tools=[])
    says(upstream, ANSWER)
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "sums"}
    asked |= {"name": "add", "arguments": '{"a":1,"b":2}'}

    answer = await tooled.served.ask(
        [
            {"role": "user", "content": "add"},
            asked,
            {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        ],
        tools=[{"type": "mcp", "server_label": "sums", "connector_id": "sums"}],
    )

    assert answer["output"][0]["tools"] == []
    assert answer["output"][1]["status"] == "failed"
    assert tooled.peer.calls == 0
