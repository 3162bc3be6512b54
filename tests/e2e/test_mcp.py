"""A real model that calls a tool of a real MCP server while a response is made."""

from contextlib import AsyncExitStack

import pytest

from jan import settings
from jan.db.engine import Database
from jan.limits.buckets import Buckets
from jan.net.policy import Policy
from jan.responses.carrying import Carriers
from jan.tools import means
from jan.tools.local import Local
from jan.tools.page import PageReader
from jan.tools.servers import Servers
from jan.usage.schemas import ToolCallRow
from tests.conversations.owners import caller_of
from tests.e2e.conftest import MODEL, Scene
from tests.gateways import KEY_SECRET, running_gateway, until
from tests.responses.stored import Keys
from tests.tenants import new_person
from tests.tools import mcp_peers
from tests.tools.mcp_peers import Peer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


async def test_a_model_calls_a_tool_and_is_told_what_came(scene: Scene, database: Database) -> None:
    peer, rows = Peer(), list[ToolCallRow]()
    keys = Keys(ann=caller_of(await new_person("ann")))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(mcp_peers.serving(peer))
        guard = await stack.enter_async_context(mcp_peers.guard(url))
        said = settings.load({}, environ={}).settings
        toolbox = await stack.enter_async_context(
            means.opened(said, Local(PageReader(guard)), Buckets(database), rows.append)
        )
        policy = Policy(allowed=(mcp_peers.destination(url.split("/")[2]),))
        carriers = Carriers(toolbox, guard, Servers(policy, KEY_SECRET))
        gateway = await stack.enter_async_context(
            running_gateway(f"unix://{scene.engine}", credentials=keys, carriers=carriers)
        )
        await until(lambda: gateway.catalog.is_ready)
        client = await stack.enter_async_context(gateway.client("ann"))
        client.timeout = 300

        answer = await client.post(
            "/v1/responses",
            json={
                "model": MODEL,
                "input": "Add 2 and 3.",
                "temperature": 0,
                "max_output_tokens": 64,
                "tools": [
                    {
                        "type": "mcp",
                        "server_label": "sums",
                        "server_url": url,
                        "allowed_tools": ["add"],
                        "require_approval": "never",
                    }
                ],
                "tool_choice": {"type": "mcp", "server_label": "sums", "name": "add"},
            },
        )

    made = answer.json()
    assert answer.status_code == 200, made
    kinds = [item["type"] for item in made["output"]]
    assert kinds[:2] == ["mcp_list_tools", "mcp_call"]
    assert made["output"][1]["name"] == rows[0].tool == "add"
    # A model this small may call it with nonsense, which it is told. What counts is that it is.
    assert made["output"][1]["status"] == ("completed" if peer.calls else "failed")
    assert kinds[-1] in {"message", "mcp_call"}
    assert made["status"] in {"completed", "incomplete"}
