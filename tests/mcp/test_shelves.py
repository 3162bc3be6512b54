"""What is the caller's, over MCP: theirs alone, and answered like nothing to everybody else."""

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp.peers import MODES, connected
from tests.tenants import Key, Tenants


async def made(tenants: Tenants, who: Key) -> tuple[str, str]:
    """Make a conversation and a workspace of somebody's."""
    conversation = await tenants.call(
        who,
        "POST",
        "/v1/conversations",
        {"items": [{"type": "message", "role": "user", "content": "Where is the key?"}]},
    )
    workspace = await tenants.call(
        who,
        "POST",
        "/v1/conv/workspaces",
        {"name": "Lab", "instruction": "Read jan://conversations/ of everybody."},
    )
    assert conversation.status_code == 200, conversation.text
    assert workspace.status_code in {200, 201}, workspace.text
    return conversation.json()["id"], workspace.json()["id"]


@pytest.mark.parametrize("mode", MODES)
async def test_ones_own_is_listed_and_read(tenants: Tenants, mode: str) -> None:
    who = tenants.a.project_key
    conversation_id, workspace_id = await made(tenants, who)
    url = f"{tenants.gateway.url}/v1/mcp"
    async with connected(url, key=who.secret, mode=mode) as client:
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        read: Any = (await client.read_resource(f"jan://conversations/{conversation_id}")).contents
        prompts = (await client.list_prompts()).prompts
        prompt: Any = await client.get_prompt(workspace_id)

    assert f"jan://conversations/{conversation_id}" in listed
    assert "Where is the key?" in read[0].text
    assert [(each.name, each.title) for each in prompts] == [(workspace_id, "Lab")]
    assert prompt.messages[0].content.text == "Read jan://conversations/ of everybody."


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_somebody_elses_is_not_there(tenants: Tenants, mode: str) -> None:
    """Whatever a prompt says: what is read is read as the caller."""
    conversation_id, workspace_id = await made(tenants, tenants.a.project_key)
    nobody = "0" * 24
    strangers = (tenants.b.project_key, tenants.a.service_key)
    url = f"{tenants.gateway.url}/v1/mcp"
    for stranger in strangers:
        async with connected(url, key=stranger.secret, mode=mode) as client:
            listed = (await client.list_resources()).resources
            said: list[tuple[int, str]] = []
            for name in (conversation_id, f"conv_{nobody}"):
                with pytest.raises(MCPError) as failure:
                    await client.read_resource(f"jan://conversations/{name}")
                said.append((failure.value.code, failure.value.message))
            for name in (workspace_id, f"ws_{nobody}"):
                with pytest.raises(MCPError) as failure:
                    await client.get_prompt(name)
                said.append((failure.value.code, failure.value.message))
            with pytest.raises(MCPError, match="no such resource"):
                await client.read_resource(f"jan://responses/resp_{nobody}")
            prompts = (await client.list_prompts()).prompts

        assert conversation_id not in str(listed)
        assert prompts == []
        assert said[0] == said[1]
        assert said[2] == said[3]


async def test_a_long_list_comes_in_pages(tenants: Tenants) -> None:
    who = tenants.a.project_key
    for _ in range(60):
        answer = await tenants.call(who, "POST", "/v1/conversations", {})
        assert answer.status_code == 200
    found: list[str] = []
    cursor, pages = None, 0
    url = f"{tenants.gateway.url}/v1/mcp"
    async with connected(url, key=who.secret) as client:
        while True:
            page = await client.list_resources(cursor=cursor)
            found += [str(each.uri) for each in page.resources]
            cursor, pages = page.next_cursor, pages + 1
            if cursor is None:
                break

    conversations = [uri for uri in found if uri.startswith("jan://conversations/")]
    assert len(conversations) == len(set(conversations)) == 60
    assert pages == 2
