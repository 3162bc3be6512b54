"""A chat with real tools: an MCP server on a socket, a stand-in for SearXNG, rows of calls."""

import pytest

from tests.conv.talks import PATH, asks, kept
from tests.fakes import FakeUpstream
from tests.gateways import upstream
from tests.responses.chats import call, delta, end
from tests.responses.test_carrying import Tooled, adds, says, tooled

__all__ = ["tooled", "upstream"]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_real_server_and_the_web_are_asked_and_booked(
    tooled: Tooled, upstream: FakeUpstream, is_stream: bool
) -> None:
    search = [call(0, '{"query":"jan"}', "web_search"), end("tool_calls")]
    says(upstream, adds(), search, [delta(content="It is 3."), end()])
    tools = [tooled.mcp(authorization="canary-1"), {"type": "web_search"}]

    answer = await tooled.served.client.post(PATH, json=asks(tools=tools, stream=is_stream))

    assert answer.status_code == 200
    assert "canary-1" not in answer.text
    [row] = (await tooled.served.client.get("/v1/conversations")).json()["data"]
    said = await kept(tooled.served.ann, {"conversation_id": row["id"]})
    assert [item["type"] for item in said[1:]] == ["mcp_call", "web_search_call", "message"]
    assert (said[1]["output"], said[1]["status"]) == ("3", "completed")
    assert said[2]["status"] == "completed"
    assert said[2]["action"]["sources"]
    assert "canary-1" not in str(said)
    assert tooled.peer.headers[0]["authorization"] == "Bearer canary-1"
    assert [(row.tool, row.outcome) for row in tooled.rows] == [
        ("add", "completed"),
        ("google_search", "completed"),
    ]
