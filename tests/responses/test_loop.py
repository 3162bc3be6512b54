"""Tools that Jan carries out while a response is made, with a model server that follows scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from jan.errors import InvalidRequest, Unavailable, Unsupported
from jan.inference.chat import Chat
from jan.inference.fleet import Fleet
from jan.inference.registry import Registry, Served
from jan.responses import loop, reading, response, translation
from jan.responses.loop import Bounds
from jan.responses.machine import Machine
from jan.responses.running import Run
from jan.responses.server_calls import Outcome, Source
from jan.responses.servers import ListedTool, McpServer, WebSearch
from jan.responses.tools import Tool
from jan.telemetry import Exchange
from tests.fakes import FakeUpstream, Reply, Seen
from tests.gateways import CALLER, endpoint, until, upstream
from tests.responses import rules
from tests.responses.chats import ASK, as_events, call, delta, end, usage

__all__ = ["upstream"]

ADD = ListedTool("add", {"type": "object"}, "Adds.", {"readOnlyHint": True})
DROP = ListedTool("drop", {"type": "object"}, "Drops.")
SERVER = {"type": "mcp", "server_label": "sums", "server_url": "http://sums.example/mcp"}
TRUSTED = SERVER | {"require_approval": "never"}
WEB = {"type": "web_search"}
PAGE = Source("https://a.example/page", "A page")

Round = Sequence[dict[str, Any]]


@dataclass
class FakeTools:
    """Carries out what it is told to."""

    tools: Sequence[ListedTool] = (ADD, DROP)
    can_search: bool = True
    does: Callable[[str], Outcome] = lambda _: Outcome("42")
    refuses_to_list: bool = False
    hangs: bool = False
    called: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    listings: int = 0
    running: int = 0
    most_running: int = 0

    async def listed(self, server: McpServer) -> Sequence[ListedTool]:
        """Tell the tools."""
        self.listings += 1
        if self.refuses_to_list:
            raise Unavailable(f"{server.server_label} does not answer.")
        return self.tools

    async def call(self, tool: Tool, server: McpServer | None, arguments: str) -> Outcome:
        """Call one."""
        assert server is not None
        return await self._run(tool.name, arguments)

    async def search(self, web: WebSearch, tool: Tool, arguments: str) -> Outcome:
        """Search."""
        assert web.domains == []
        return await self._run(tool.name, arguments)

    async def _run(self, name: str, arguments: str) -> Outcome:
        self.called.append((name, arguments))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await (asyncio.Event().wait() if self.hangs else asyncio.sleep(0.01))
            return self.does(name)
        finally:
            self.running -= 1


@pytest.fixture
async def chat(upstream: FakeUpstream) -> AsyncIterator[Chat]:
    fleet = Fleet(connect_timeout_s=2)
    fleet.apply(Registry([endpoint(upstream.url, served=(Served(str(ASK["model"])),))]))
    yield Chat(fleet)
    fleet.close()


def _exchange() -> Exchange:
    return Exchange("req_1", "POST", "/v1/responses", caller=CALLER)


def says(upstream: FakeUpstream, *rounds: Round) -> None:
    """Let the model say one round after another, the last one again and again."""
    left = list(rounds)

    async def script(_: Seen, reply: Reply) -> None:
        said = left.pop(0) if len(left) > 1 else left[0]
        await reply.events(as_events(*said, usage()))

    upstream.script("/v1/chat/completions", script)


def making(chat: Chat, tools: FakeTools, /, **parameters: Any) -> Run:
    """Make what makes a response."""
    asked = reading.read(json.dumps(ASK | parameters).encode())
    prompt = translation.prompt(asked)
    begun = response.begun(asked, response_id="resp_1", created_at=1_700_000_000)
    return Run(chat, asked.create, prompt, Machine(begun, asked.create, prompt.toolset), tools)


async def run(
    chat: Chat, tools: FakeTools, /, **parameters: Any
) -> tuple[list[rules.Event], dict[str, Any]]:
    """Make a response; give its events, checked, and what it is at the end."""
    made = [
        event
        async for batch in making(chat, tools, **parameters).stream(_exchange())
        for event in batch
    ]
    events = rules.parsed(b"".join(made))
    return events, rules.check(events)


def kinds(events: Sequence[rules.Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def called(name: str, arguments: str = "{}", index: int = 0) -> list[dict[str, Any]]:
    """Write the round in which the model calls a tool."""
    return [call(index, "", name), call(index, arguments), end("tool_calls")]


async def test_a_tool_is_called_and_the_model_told_what_came(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(
        upstream,
        [delta(content="Let me see."), *called("add", '{"a":1}')],
        [delta(content="42"), end()],
    )
    tools = FakeTools()

    events, answer = await run(chat, tools, tools=[TRUSTED])

    assert [item["type"] for item in answer["output"]] == [
        *("mcp_list_tools", "message", "mcp_call", "message"),
    ]
    listed, _, done, last = answer["output"]
    assert [tool["name"] for tool in listed["tools"]] == ["add", "drop"]
    assert (done["name"], done["server_label"], done["arguments"]) == ("add", "sums", '{"a":1}')
    assert (done["output"], done["error"], done["status"]) == ("42", None, "completed")
    assert last["content"][0]["text"] == "42"
    assert kinds(events)[2:6] == [
        *("output_item.added", "mcp_list_tools.in_progress"),
        *("mcp_list_tools.completed", "output_item.done"),
    ]
    assert [kind for kind in kinds(events) if kind.startswith("mcp_call")] == [
        *("mcp_call.in_progress", "mcp_call_arguments.delta"),
        *("mcp_call_arguments.done", "mcp_call.completed"),
    ]
    first, second = (seen.json for seen in upstream.requests)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["add", "drop"]
    assistant, told = second["messages"][-2:]
    assert assistant["content"] == "Let me see."
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert told == {
        "role": "tool",
        "tool_call_id": assistant["tool_calls"][0]["id"],
        "content": "42",
    }
    assert answer["usage"]["total_tokens"] == 28


async def test_a_tool_that_fails_is_told_to_the_model(upstream: FakeUpstream, chat: Chat) -> None:
    says(upstream, called("add"), [delta(content="It failed."), end()])
    error = {"type": "http_error", "code": 500, "message": "Oops"}

    events, answer = await run(
        chat, FakeTools(does=lambda _: Outcome("Error: Oops", error)), tools=[TRUSTED]
    )

    done = answer["output"][1]
    assert (done["status"], done["error"], done["output"]) == ("failed", error, None)
    assert "mcp_call.failed" in kinds(events)
    assert upstream.requests[1].json["messages"][-1]["content"] == "Error: Oops"
    assert answer["status"] == "completed"


async def test_a_server_that_does_not_answer_is_told_and_done_without(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(upstream, [delta(content="No tools."), end()])

    events, answer = await run(chat, FakeTools(refuses_to_list=True), tools=[TRUSTED])

    assert answer["output"][0]["error"] == "sums does not answer."
    assert "mcp_list_tools.failed" in kinds(events)
    assert "tools" not in upstream.requests[0].json
    assert answer["status"] == "completed"


async def test_parallel_calls_run_in_parallel(upstream: FakeUpstream, chat: Chat) -> None:
    both = [call(0, "{}", "add"), call(1, "{}", "drop"), end("tool_calls")]
    says(upstream, both, [delta(content="Done."), end()])
    together, in_turns = FakeTools(), FakeTools()

    await run(chat, together, tools=[TRUSTED])
    says(upstream, both, [delta(content="Done."), end()])
    await run(chat, in_turns, tools=[TRUSTED], parallel_tool_calls=False)

    assert (together.most_running, in_turns.most_running) == (2, 1)
    assert [name for name, _ in in_turns.called] == ["add", "drop"]


async def test_a_model_that_never_stops_calling_is_asked_for_an_answer(
    upstream: FakeUpstream, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Bounds", lambda: Bounds(rounds=3))
    says(upstream, *[called("add")] * 3, [delta(content="At last."), end()])
    tools = FakeTools()

    _, answer = await run(chat, tools, tools=[TRUSTED], tool_choice="required")

    choices = [seen.json["tool_choice"] for seen in upstream.requests]
    assert choices == ["required", "auto", "auto", "none"]
    assert len(tools.called) == 3
    assert answer["output"][-1]["content"][0]["text"] == "At last."


async def test_calls_beyond_the_limit_are_not_carried_out(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(
        upstream,
        [call(0, "{}", "add"), call(1, "{}", "drop"), end("tool_calls")],
        [delta(content="Done."), end()],
    )
    tools = FakeTools()

    _, answer = await run(chat, tools, tools=[TRUSTED], max_tool_calls=1)

    assert len(tools.called) == 1
    assert [item.get("status") for item in answer["output"][1:3]] == ["completed", "failed"]
    assert upstream.requests[1].json["tool_choice"] == "none"


async def test_a_tool_that_hangs_is_given_up(
    upstream: FakeUpstream, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Bounds", lambda: Bounds(call_s=0.05))
    says(upstream, called("add"), [delta(content="It hung."), end()])
    tools = FakeTools(hangs=True)

    _, answer = await run(chat, tools, tools=[TRUSTED])

    assert "in time" in str(answer["output"][1]["error"])
    assert tools.running == 0


async def test_leaving_ends_tools_too(upstream: FakeUpstream, chat: Chat) -> None:
    says(upstream, called("add"))
    tools = FakeTools(hangs=True)

    async def consume() -> None:
        events = making(chat, tools, tools=[TRUSTED]).stream(_exchange())
        async with aclosing(events):
            async for _ in events:
                pass

    consuming = asyncio.create_task(consume())
    await until(lambda: tools.running)
    consuming.cancel()
    await asyncio.wait([consuming])

    assert tools.running == 0


async def test_a_call_that_wants_leave_is_asked_for_and_not_carried_out(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(upstream, called("drop", '{"table":"x"}'))
    tools = FakeTools()

    _, answer = await run(chat, tools, tools=[SERVER])

    request = answer["output"][1]
    assert request["type"] == "mcp_approval_request"
    assert (request["name"], request["arguments"]) == ("drop", '{"table":"x"}')
    assert tools.called == []
    assert len(upstream.requests) == 1
    assert answer["status"] == "completed"


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_the_client_s_word_decides(
    upstream: FakeUpstream, chat: Chat, is_allowed: bool
) -> None:
    says(upstream, [delta(content="Right."), end()])
    tools = FakeTools()
    before = [
        {"type": "message", "role": "user", "content": "drop it"},
        {
            "type": "mcp_list_tools",
            "id": "mcpl_1",
            "server_label": "sums",
            "tools": [{"name": "drop", "input_schema": {"type": "object"}}],
        },
        {
            "type": "mcp_approval_request",
            "id": "mcpr_1",
            "name": "drop",
            "arguments": "{}",
            "server_label": "sums",
        },
        {
            "type": "mcp_approval_response",
            "approval_request_id": "mcpr_1",
            "approve": is_allowed,
        },
    ]

    _, answer = await run(chat, tools, tools=[SERVER], input=before)

    assert tools.listings == 0, "the history tells what the server has"
    assert tools.called == ([("drop", "{}")] if is_allowed else [])
    assistant, told = upstream.requests[0].json["messages"][-2:]
    assert assistant["tool_calls"][0]["function"]["name"] == "drop"
    assert told["content"] == ("42" if is_allowed else "The user did not allow this call.")
    types = [item["type"] for item in answer["output"]]
    assert types == (["mcp_call", "message"] if is_allowed else ["message"])
    if is_allowed:
        assert answer["output"][0]["approval_request_id"] == "mcpr_1"


def test_leave_for_what_nobody_asked_is_refused() -> None:
    given = [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}]
    asked = reading.read(json.dumps(ASK | {"tools": [SERVER], "input": given}).encode())

    with pytest.raises(InvalidRequest) as caught:
        translation.prompt(asked)

    assert caught.value.param == "input[0].approval_request_id"


async def test_a_function_of_the_client_s_ends_the_loop(upstream: FakeUpstream, chat: Chat) -> None:
    function = {"type": "function", "name": "mine", "parameters": {"type": "object"}}
    says(upstream, [call(0, "{}", "add"), call(1, "{}", "mine"), end("tool_calls")])
    tools = FakeTools()

    _, answer = await run(chat, tools, tools=[TRUSTED, function])

    assert [item["type"] for item in answer["output"][1:]] == ["mcp_call", "function_call"]
    assert answer["output"][1]["output"] == "42"
    assert len(upstream.requests) == 1


async def test_pages_that_are_named_are_cited(upstream: FakeUpstream, chat: Chat) -> None:
    says(
        upstream,
        called("web_search", '{"query":"jan"}'),
        [delta(content=f"See [A page]({PAGE.url})."), end()],
    )

    events, answer = await run(
        chat, FakeTools(does=lambda _: Outcome("found", sources=[PAGE])), tools=[WEB]
    )

    search, message = answer["output"]
    assert search["action"]["query"] == "jan"
    assert search["action"]["sources"] == [{"type": "url", "url": PAGE.url}]
    text = message["content"][0]["text"]
    [citation] = message["content"][0]["annotations"]
    assert (citation["url"], citation["title"]) == (PAGE.url, PAGE.title)
    assert text[citation["start_index"] : citation["end_index"]] == f"[A page]({PAGE.url})"
    assert [kind for kind in kinds(events) if "search" in kind or "annotation" in kind] == [
        *("web_search_call.in_progress", "web_search_call.searching"),
        *("web_search_call.completed", "output_text.annotation.added"),
    ]


async def test_without_a_provider_the_web_is_not_offered(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(upstream, [delta(content="Hi"), end()])
    tools = FakeTools(can_search=False)

    await run(chat, tools, tools=[WEB])

    assert "tools" not in upstream.requests[0].json
    with pytest.raises(Unsupported, match="searxng_url"):
        await run(chat, tools, tools=[WEB], tool_choice={"type": "web_search"})


async def test_tools_of_one_name_are_told_apart(upstream: FakeUpstream, chat: Chat) -> None:
    other = TRUSTED | {"server_label": "other"}
    says(upstream, called("other__add"), [delta(content="Done."), end()])

    _, answer = await run(chat, FakeTools(), tools=[TRUSTED, other])

    names = [tool["function"]["name"] for tool in upstream.requests[0].json["tools"]]
    assert names == ["add", "drop", "other__add", "other__drop"]
    [done] = [item for item in answer["output"] if item["type"] == "mcp_call"]
    assert (done["server_label"], done["name"]) == ("other", "add")


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (["drop"], ["drop"]),
        ({"read_only": True}, ["add"]),
        ({"tool_names": ["add", "nothing"]}, ["add"]),
    ],
)
async def test_only_allowed_tools_are_told_of(
    upstream: FakeUpstream, chat: Chat, allowed: Any, names: list[str]
) -> None:
    says(upstream, [delta(content="Hi"), end()])

    await run(chat, FakeTools(), tools=[TRUSTED | {"allowed_tools": allowed}])

    offered = upstream.requests[0].json["tools"]
    assert [tool["function"]["name"] for tool in offered] == names


async def test_leave_is_asked_for_by_what_a_tool_says_of_itself(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(
        upstream,
        [call(0, "{}", "add"), call(1, "{}", "drop"), end("tool_calls")],
    )
    tools = FakeTools()
    careful = SERVER | {"require_approval": {"never": {"read_only": True}}}

    _, answer = await run(chat, tools, tools=[careful])

    assert [item["type"] for item in answer["output"][1:]] == ["mcp_call", "mcp_approval_request"]
    assert tools.called == [("add", "{}")]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "mcp"}, "tools[0].server_label"),
        ({"type": "mcp", "server_label": "x"}, "tools[0].server_url"),
        (SERVER | {"connector_id": "y"}, "tools[0].server_url"),
        (SERVER | {"require_approval": "maybe"}, "tools[0].require_approval"),
        (SERVER | {"headers": {"a": 1}}, "tools[0].headers"),
        (WEB | {"search_context_size": "huge"}, "tools[0].search_context_size"),
    ],
)
def test_bad_tools_are_named(tool: dict[str, Any], param: str) -> None:
    asked = reading.read(json.dumps(ASK | {"tools": [tool]}).encode())

    with pytest.raises(InvalidRequest) as caught:
        translation.prompt(asked)

    assert (caught.value.param or "").startswith(param)


async def test_credentials_are_not_told_again(upstream: FakeUpstream, chat: Chat) -> None:
    says(upstream, [delta(content="Hi"), end()])
    secret = TRUSTED | {"authorization": "canary-1", "headers": {"x-key": "canary-2"}}

    events, answer = await run(chat, FakeTools(), tools=[secret])

    assert "canary" not in json.dumps(events)
    assert answer["tools"][0]["server_label"] == "sums"


async def test_a_model_cut_off_in_a_call_has_it_not_carried_out(
    upstream: FakeUpstream, chat: Chat
) -> None:
    says(upstream, [call(0, '{"a":', "add"), end("length")])
    tools = FakeTools()

    _, answer = await run(chat, tools, tools=[TRUSTED])

    assert tools.called == []
    assert answer["status"] == "incomplete"
    assert answer["output"][1]["status"] == "incomplete"


async def test_the_whole_answer_is_the_streamed_one(upstream: FakeUpstream, chat: Chat) -> None:
    says(upstream, called("add"), [delta(content="42"), end()])
    making_it = making(chat, FakeTools(), tools=[TRUSTED], stream=False)

    await making_it.whole(_exchange())

    answer = rules.validate_response(response.encode(making_it.machine.response))
    assert [item.type for item in answer.output] == ["mcp_list_tools", "mcp_call", "message"]
