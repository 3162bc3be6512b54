"""Workspaces: made, listed, changed and deleted by their owner, and by nobody else."""

from datetime import datetime
from typing import Any

import httpx
import pytest

from jan import ids
from jan.caller import Caller
from jan.conv import service as workspaces
from jan.conv.schemas import WorkspaceCreate
from jan.errors import InvalidRequest
from tests.conftest import execute, fetch
from tests.conv.conftest import PROJECT

PATH = "/v1/conv/workspaces"


async def made(client: httpx.AsyncClient, name: str = "Work", **more: Any) -> dict[str, Any]:
    """Make one."""
    answer = await client.post(PATH, json={"name": name, **more})
    assert answer.status_code == 201
    return answer.json()


async def test_a_workspace_is_answered_bare_with_rfc3339_times(client: httpx.AsyncClient) -> None:
    workspace = await made(client, "  Work ", instruction=" Be brief. ")

    assert set(workspace) == {
        *("id", "object", "name", "instruction", "created_at", "updated_at"),
    }
    assert workspace["id"].startswith("ws_")
    assert (workspace["name"], workspace["instruction"]) == ("Work", "Be brief.")
    assert workspace["created_at"].endswith("Z")
    assert datetime.fromisoformat(workspace["created_at"]).tzinfo
    assert (await client.get(f"{PATH}/{workspace['id']}")).json() == workspace


@pytest.mark.parametrize("instruction", [None, "", "  \n"])
async def test_without_an_instruction_there_is_no_field(
    client: httpx.AsyncClient, instruction: str | None
) -> None:
    assert "instruction" not in await made(client, instruction=instruction)


@pytest.mark.parametrize("name", ["", "   ", "x" * 51, "a\nb", "a\x00b"])
async def test_a_name_that_does_not_fit_is_refused(client: httpx.AsyncClient, name: str) -> None:
    workspace = await made(client)

    for answer in (
        await client.post(PATH, json={"name": name}),
        await client.patch(f"{PATH}/{workspace['id']}", json={"name": name}),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "name"
    assert (await client.get(PATH)).json()["total"] == 1


@pytest.mark.parametrize("name", ["x", "é" * 50, "👩‍👩‍👧 home"])
async def test_a_name_is_measured_in_characters(client: httpx.AsyncClient, name: str) -> None:
    assert (await made(client, name))["name"] == name


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", "{}", '{"name": 7}', '{"name": null}', '{"name": "\\ud800"}']
)
async def test_a_body_that_is_none_is_refused(client: httpx.AsyncClient, body: str) -> None:
    answer = await client.post(PATH, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_workspace_is_renamed(client: httpx.AsyncClient, method: str) -> None:
    workspace = await made(client, instruction="Be brief.")

    answer = await client.request(method, f"{PATH}/{workspace['id']}", json={"name": " Home "})

    changed = answer.json()
    assert answer.status_code == 200
    assert changed["updated_at"] > workspace["updated_at"]
    assert changed == workspace | {"name": "Home", "updated_at": changed["updated_at"]}


async def test_an_instruction_is_set_and_cleared(client: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await made(client))['id']}/instruction"

    told = [
        (await client.patch(path, json={"instruction": said})).json().get("instruction")
        for said in (" Be brief. ", None, "Be long.", " ")
    ]

    assert told == ["Be brief.", None, "Be long.", None]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "instruction"),
        ({"instruction": "a\x00b"}, "instruction"),
        ({"instruction": 1}, "instruction"),
    ],
)
async def test_an_instruction_that_can_not_be_one_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], param: str | None
) -> None:
    workspace = await made(client, instruction="Be brief.")

    answer = await client.patch(f"{PATH}/{workspace['id']}/instruction", json=body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await client.get(f"{PATH}/{workspace['id']}")).json() == workspace


@pytest.mark.parametrize("cursor", ["after", "last"])
async def test_the_list_is_paged(client: httpx.AsyncClient, cursor: str) -> None:
    named = [await made(client, f"w{number}") for number in range(5)]
    told: list[str] = []
    params: dict[str, Any] = {"limit": 2}

    while True:
        page = (await client.get(PATH, params=params)).json()
        told += [workspace["id"] for workspace in page["results"]]
        assert (page["status"], page["total"]) == ("000000", 5)
        assert page["first_id"] == page["results"][0]["id"]
        assert page["last_id"] == page["results"][-1]["id"]
        if not page["has_more"]:
            break
        params[cursor] = page["last_id"]

    assert told == [workspace["id"] for workspace in named]
    newest = (await client.get(PATH, params={"order": "desc", "limit": 1})).json()
    assert newest["results"] == [named[-1]]


async def test_an_empty_list_has_all_its_fields(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).json() == {
        "status": "000000",
        "total": 0,
        "results": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": "x"}, {"order": "up"}, {"after": "ws_0"}]
)
async def test_a_page_that_is_none_is_refused(
    client: httpx.AsyncClient, params: dict[str, Any]
) -> None:
    answer = await client.get(PATH, params=params)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in params


async def test_what_is_somebody_elses_is_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    workspace = await made(client)
    before = await fetch("SELECT * FROM workspace")

    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("PATCH", "/instruction", {"instruction": "mine"}),
        ("DELETE", "", None),
    ):
        said = [
            await stranger.request(method, f"{PATH}/{workspace_id}{path}", json=body)
            for workspace_id in (workspace["id"], "ws_0")
        ]
        assert [answer.status_code for answer in said] == [404, 404]
        assert {answer.json()["error"]["code"] for answer in said} == {"not_found"}

    cursor = await stranger.get(PATH, params={"after": workspace["id"]})
    assert cursor.status_code == 400
    assert (await stranger.get(PATH)).json()["total"] == 0
    assert await fetch("SELECT * FROM workspace") == before


async def test_a_workspace_goes_with_its_conversations(client: httpx.AsyncClient) -> None:
    workspace, other = await made(client), await made(client)
    for workspace_id in (workspace["id"], other["id"], None):
        conversation_id = ids.new("conv")
        await execute(
            "INSERT INTO conversation (id, project_id, owner_id, workspace_id)"
            " VALUES ($1, $2, 'user_ann', $3)",
            *(conversation_id, PROJECT, workspace_id),
        )
        await execute(
            "INSERT INTO conversation_item (conversation_id, id, project_id, owner_id, type, item)"
            " VALUES ($1, 'msg_1', $2, 'user_ann', 'message', '{}')",
            *(conversation_id, PROJECT),
        )

    answer = await client.delete(f"{PATH}/{workspace['id']}")

    deleted = {"id": workspace["id"], "object": "workspace.deleted", "deleted": True}
    assert answer.json() == deleted
    assert (await client.get(f"{PATH}/{workspace['id']}")).status_code == 404
    assert (await client.delete(f"{PATH}/{workspace['id']}")).status_code == 404
    left = await fetch("SELECT workspace_id FROM conversation")
    assert {row["workspace_id"] for row in left} == {other["id"], None}
    assert len(await fetch("SELECT FROM conversation_item")) == 2


async def test_who_has_no_project_is_told_so(ann: Caller, operator: Caller) -> None:
    with pytest.raises(InvalidRequest, match="OpenAI-Project"):
        await workspaces.create(operator, WorkspaceCreate(name="Work"))
