"""What the routes of conversations take, and what they refuse, on the wire."""

import json
from typing import Any

import httpx
import pytest

from jan.conversations import inclusion
from jan.keys.schemas import KeyCreate
from jan.permissions import Scope
from tests.conftest import fetch
from tests.tenants import Tenants, new_key

PATH = "/v1/conversations"
USER = {"role": "user", "content": "hi"}


async def made(client: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    """Make a conversation."""
    answer = await client.post(PATH, json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def kept(client: httpx.AsyncClient, conversation_id: str, **params: Any) -> dict[str, Any]:
    """List the items of one, the oldest first."""
    answer = await client.get(
        f"{PATH}/{conversation_id}/items", params={"order": "asc", "limit": 100} | params
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Tell the status, the code and what is to blame."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def test_a_conversation_is_made_with_what_was_asked_for(client: httpx.AsyncClient) -> None:
    metadata = {"topic": "dogs", "": "\\u0000 is no NUL"}

    whole = await made(client, title=" Dogs ", metadata=metadata, items=[USER, USER])
    bare = await made(client, title="", metadata=None, items=None, workspace_id=None)
    answer = await client.post(PATH)

    assert whole["id"].startswith("conv_")
    assert {**whole, "id": "", "created_at": 0} == {
        "id": "",
        "object": "conversation",
        "created_at": 0,
        "metadata": metadata,
        "title": "Dogs",
        "workspace_id": None,
    }
    assert (bare["title"], bare["metadata"], bare["workspace_id"]) == (None, {}, None)
    assert answer.status_code == 200
    assert len((await kept(client, whole["id"]))["data"]) == 2
    assert (await client.get(f"{PATH}/{whole['id']}")).json() == whole


async def test_a_conversation_without_a_title_is_called_after_its_first_message(
    client: httpx.AsyncClient,
) -> None:
    text = "Why " + "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 30

    at_once = await made(client, items=[{"role": "user", "content": text}])
    later = await made(client)
    await client.post(f"{PATH}/{later['id']}/items", json={"items": [USER]})

    assert at_once["title"].endswith("\U0001f467…")
    assert (await client.get(f"{PATH}/{later['id']}")).json()["title"] == "hi"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_update_changes_what_it_names(client: httpx.AsyncClient, method: str) -> None:
    conversation = await made(client, title="Dogs", metadata={"a": "b", "c": "d"})
    path = f"{PATH}/{conversation['id']}"

    async def update(**wanted: Any) -> dict[str, Any]:
        answer = await client.request(method, path, json=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await update(metadata={"e": "f"}) == conversation | {"metadata": {"e": "f"}}
    assert (await update(title="Cats"))["metadata"] == {"e": "f"}
    assert (await update())["title"] == "Cats"
    assert await update(metadata=None, title=None) == conversation | {"metadata": {}, "title": None}


async def test_deleting_a_conversation_deletes_what_was_said(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER])
    path = f"{PATH}/{conversation['id']}"

    answer = await client.delete(path)

    assert answer.json() == {
        "id": conversation["id"],
        "object": "conversation.deleted",
        "deleted": True,
    }
    for method, then in (("GET", path), ("DELETE", path), ("GET", f"{path}/items")):
        assert refusal(await client.request(method, then)) == (404, "not_found", None)
    assert await fetch("SELECT 1 FROM conversation_item") == []


async def test_items_come_back_in_openais_shape_and_as_they_were_sent(
    client: httpx.AsyncClient,
) -> None:
    """All types that there are, and fields that Jan does not know."""
    image, sound = {"type": "input_image", "image_url": "data:,x", "detail": "low"}, "UklGRg=="
    annotation = {
        "type": "url_citation",
        "url": "u",
        "title": "t",
        "start_index": 0,
        "end_index": 1,
    }
    content = [
        {"type": "input_text", "text": "\U0001f600 漢", "cache": {"z": 1, "a": [1.5, None, True]}},
        image,
        {"type": "input_file", "file_data": "data:,x", "filename": "x.txt"},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
    ]
    said = [
        {"type": "output_text", "text": "a", "annotations": [annotation], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ]
    tool = {"name": "f", "arguments": "{}", "server_label": "s"}
    sent: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": content},
        {"type": "message", "role": "assistant", "content": said, "phase": "final_answer"},
        {"type": "message", "role": "developer", "content": [content[0]], "status": "failed"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "r"}],
            "encrypted_content": "e",
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [image]},
        {"type": "custom_tool_call", "call_id": "d", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "x"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": [{"name": "f"}]},
        {"type": "mcp_approval_request", "id": "mcpr_1", **tool},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        {"type": "mcp_call", "id": "mcp_1", **tool, "output": "x", "status": "calling"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "searching",
            "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]},
        },
        {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "results": [{"text": "t"}]},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "outputs": [{"logs": "1"}]},
        {
            "type": "computer_call_output",
            "id": "cuo_1",
            "call_id": "e",
            "output": {"type": "computer_screenshot", "image_url": "data:,x"},
        },
    ]
    conversation = await made(client)
    path = f"{PATH}/{conversation['id']}/items"
    everything = {"include[]": sorted(inclusion.INCLUDABLE)}

    answer = await client.post(path, json={"items": sent}, params=everything)

    data = answer.json()["data"]
    assert [{name: got[name] for name in item} for got, item in zip(data, sent, strict=True)] == (
        sent
    )
    assert len({got["id"] for got in data}) == len(sent)
    assert (await kept(client, conversation["id"], **everything))["data"] == data
    for got in data:
        answer = await client.get(f"{path}/{got['id']}", params=everything)
        assert answer.json() == got


async def test_what_is_long_is_told_to_who_asks_for_it(client: httpx.AsyncClient) -> None:
    content = [
        {"type": "input_image", "image_url": "data:,x"},
        {"type": "output_text", "text": "a", "logprobs": [1]},
    ]
    conversation = await made(
        client,
        items=[
            {"role": "user", "content": content},
            {"type": "reasoning", "summary": [], "encrypted_content": "e"},
            {
                "type": "web_search_call",
                "id": "ws_1",
                "results": [1],
                "action": {"type": "search", "sources": [1]},
            },
            {"type": "file_search_call", "results": [1]},
            {"type": "code_interpreter_call", "outputs": [1]},
            {"type": "computer_call_output", "output": {"image_url": "data:,x"}},
            {"type": "computer_call_output", "output": "of no known shape"},
        ],
    )

    def told(items: list[dict[str, Any]]) -> list[str]:
        text = json.dumps(items)
        fields = ("image_url", "logprobs", "encrypted_content", "results", "sources", "outputs")
        return [field for field in fields if f'"{field}"' in text]

    plain = await kept(client, conversation["id"])
    one = await kept(client, conversation["id"], include="reasoning.encrypted_content")
    two = await kept(
        client,
        conversation["id"],
        **{"include[]": ["message.input_image.image_url", "message.output_text.logprobs"]},
    )
    message_id = plain["first_id"]
    got = await client.get(f"{PATH}/{conversation['id']}/items/{message_id}")
    unknown = await client.get(f"{PATH}/{conversation['id']}/items", params={"include[]": "all"})

    assert told(plain["data"]) == []
    assert told(one["data"]) == ["encrypted_content"]
    assert told(two["data"]) == ["image_url", "logprobs"]
    assert got.json() == plain["data"][0]
    assert refusal(unknown) == (400, "invalid_request", "include")


async def test_a_page_of_items_begins_where_the_last_one_ended(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER] * 5)
    path = f"{PATH}/{conversation['id']}/items"
    every = (await kept(client, conversation["id"]))["data"]
    ids = [item["id"] for item in every]

    latest = (await client.get(path, params={"limit": 2})).json()
    then = (await client.get(path, params={"limit": 2, "after": latest["last_id"]})).json()
    end = (await client.get(path, params={"limit": 2, "last": then["last_id"]})).json()
    back = (await client.get(path, params={"limit": 2, "before": end["first_id"]})).json()

    assert [item["id"] for item in latest["data"]] == ids[:2:-1]
    assert [item["id"] for item in then["data"]] == ids[2:0:-1]
    assert [item["id"] for item in end["data"]] == ids[:1]
    assert [item["id"] for item in back["data"]] == ids[2:0:-1]
    assert [page["has_more"] for page in (latest, then, end, back)] == [True, True, False, True]
    assert (latest["first_id"], latest["last_id"]) == (ids[4], ids[3])


async def test_an_empty_conversation_has_an_empty_page(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[])

    answer = await client.post(f"{PATH}/{conversation['id']}/items", json={"items": []})

    nothing = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert answer.json() == nothing
    assert await kept(client, conversation["id"]) == nothing


WRONG_PAGES: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": "x"}, "limit"),
    ({"order": "up"}, "order"),
    ({"after": "msg_nobodys"}, "after"),
    ({"after": "x" * 129}, "after"),
    ({"after": "a", "before": "b"}, "before"),
]


async def test_a_page_that_can_not_be_is_refused(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER])

    for params, param in WRONG_PAGES:
        for path in (PATH, f"{PATH}/{conversation['id']}/items"):
            answer = await client.get(path, params=params)
            assert refusal(answer) == (400, "invalid_request", param), params


async def test_a_cursor_of_another_conversation_is_none(client: httpx.AsyncClient) -> None:
    mine, other = await made(client, items=[USER]), await made(client, items=[USER])
    cursor = (await kept(client, other["id"]))["first_id"]

    answer = await client.get(f"{PATH}/{mine['id']}/items", params={"after": cursor})

    assert refusal(answer) == (400, "invalid_request", "after")


async def test_removing_an_item_answers_with_the_conversation(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER, USER])
    first, second = (await kept(client, conversation["id"]))["data"]
    path = f"{PATH}/{conversation['id']}/items/{first['id']}"

    answer = await client.delete(path)

    assert answer.json() == conversation
    assert (await kept(client, conversation["id"]))["data"] == [second]
    for method in ("GET", "DELETE"):
        assert refusal(await client.request(method, path)) == (404, "not_found", None)


async def test_a_reference_stands_for_a_copy_of_the_item(client: httpx.AsyncClient) -> None:
    old = await made(client, items=[USER])
    [item] = (await kept(client, old["id"]))["data"]
    reference = {"type": "item_reference", "id": item["id"]}

    copied = await made(client, items=[USER, {"id": item["id"]}])
    missing = await client.post(PATH, json={"items": [USER, reference | {"id": "msg_nobodys"}]})
    twice = await client.post(f"{PATH}/{old['id']}/items", json={"items": [reference]})

    assert (await kept(client, copied["id"]))["data"][1] == item
    assert refusal(missing) == (404, "not_found", "items[1].id")
    assert refusal(twice) == (400, "invalid_request", "items[0].id")


NUL, HALF = "a\x00b", "a\ud83d"

WRONG_ITEMS: list[tuple[Any, str]] = [
    ([USER] * 21, "items"),
    ("hi", "items"),
    ({"0": USER}, "items"),
    ([USER, "hi"], "items[1]"),
    ([USER, None], "items[1]"),
    ([{}], "items[0].role"),
    ([USER, USER, USER, {"role": "user"}], "items[3].content"),
    ([USER, {"type": "nonsense"}], "items[1].type"),
    ([{"type": ["message"]}], "items[0].type"),
    ([{"role": "tool", "content": "x"}], "items[0].role"),
    ([{"role": "user", "content": 3}], "items[0].content"),
    (
        [{"role": "user", "content": [{"type": "input_text", "text": 3}]}],
        "items[0].content[0].text",
    ),
    ([{"role": "user", "content": [{"type": "input_video"}]}], "items[0].content[0].type"),
    ([{"role": "user", "content": ["x"]}], "items[0].content[0]"),
    ([USER | {"status": "done"}], "items[0].status"),
    ([USER | {"id": 3}], "items[0].id"),
    ([USER | {"id": "x" * 129}], "items[0].id"),
    ([USER, {"type": "function_call", "name": "f", "arguments": "{}"}], "items[1].call_id"),
    ([USER | {"id": "a"}, USER | {"id": "b"}, USER | {"id": "a"}], "items[2].id"),
    ([USER, {"role": "user", "content": NUL}], "items[1].content"),
    ([USER, {"role": "user", "content": HALF}], "items[1].content"),
    ([USER | {"extra": {"deep": [NUL]}}], "items[0].extra.deep[0]"),
    ([{"type": "compaction", NUL: 1}], f"items[0].{NUL}"),
]


async def test_items_that_are_none_are_named_by_their_index(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER])

    for wrong, param in WRONG_ITEMS:
        body = json.dumps({"items": wrong}).encode()
        for path in (PATH, f"{PATH}/{conversation['id']}/items"):
            answer = await client.post(path, content=body)
            assert refusal(answer)[::2] == (400, param), wrong
    assert len((await kept(client, conversation["id"]))["data"]) == 1
    assert len((await client.get(PATH)).json()["data"]) == 1


WRONG_WORDS: list[tuple[dict[str, Any], str]] = [
    ({"title": "x" * 201}, "title"),
    ({"title": "x" * 500_000}, "title"),
    ({"title": "a\nb"}, "title"),
    ({"title": NUL}, "title"),
    ({"title": HALF}, "title"),
    ({"title": 3}, "title"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"metadata": {"k" * 65: ""}}, "metadata"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ({"metadata": {"k": NUL}}, "metadata.k"),
    ({"metadata": {HALF: ""}}, "metadata.a?"),
    ({"metadata": {"k": 3}}, "metadata[...]"),
    ({"metadata": []}, "metadata"),
]


async def test_titles_and_metadata_that_do_not_fit_are_refused(client: httpx.AsyncClient) -> None:
    conversation = await made(client)

    for wrong, param in WRONG_WORDS:
        body = json.dumps(wrong).encode()
        created = await client.post(PATH, content=body)
        updated = await client.patch(f"{PATH}/{conversation['id']}", content=body)
        assert refusal(created)[::2] == refusal(updated)[::2] == (400, param), wrong
    assert (await client.get(f"{PATH}/{conversation['id']}")).json() == conversation


async def test_what_is_as_long_as_can_be_is_kept(client: httpx.AsyncClient) -> None:
    metadata = {f"{number:064}": "\U0001f600" * 512 for number in range(16)}

    conversation = await made(
        client, title="\U0001f600" * 200, metadata=metadata, items=[USER] * 20
    )

    assert conversation["title"] == "\U0001f600" * 200
    assert conversation["metadata"] == metadata


WRONG_BODIES = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b'{"items": [\xff]}', "invalid_json"),
    (b'{"items": ' + b"[" * 5000, "invalid_json"),
    (b'{"items": [{"role": "user", "content": "hi", "n": 1e999}]}', "invalid_json"),
    (b'{"items": [{"role": "user", "content": "hi", "n": NaN}]}', "invalid_json"),
    (b"[]", "invalid_request"),
    (b"{}", "invalid_request"),
    (b'{"items": null}', "invalid_request"),
    (b" " * 1_000_001, "request_too_large"),
]


async def test_a_body_that_can_not_be_read_is_refused(client: httpx.AsyncClient) -> None:
    conversation = await made(client)

    for body, code in WRONG_BODIES:
        answer = await client.post(f"{PATH}/{conversation['id']}/items", content=body)
        assert refusal(answer)[1] == code, body[:80]
        assert answer.status_code in {400, 413}


async def test_numbers_of_any_length_are_kept_or_refused(client: httpx.AsyncClient) -> None:
    conversation = await made(client)
    path = f"{PATH}/{conversation['id']}/items"
    long = b'{"items": [{"role": "user", "content": "hi", "n": %b}]}'

    whole = await client.post(path, content=long % (b"9" * 100))
    too_long = await client.post(path, content=long % (b"9" * 5000))

    assert whole.json()["data"][0]["n"] == int("9" * 100)
    assert too_long.status_code == 400


async def test_ids_that_nobody_has_lead_nowhere(client: httpx.AsyncClient) -> None:
    conversation = await made(client, items=[USER])
    mine = f"{PATH}/{conversation['id']}"

    for conversation_id in ("conv_nobodys", "x" * 5000, "%F0%9F%98%80", "%27"):
        path = f"{PATH}/{conversation_id}"
        for method, then, body in (
            ("GET", path, None),
            ("PATCH", path, {"title": "x"}),
            ("POST", path, {"metadata": {}}),
            ("DELETE", path, None),
            ("PATCH", f"{path}/workspace", {"workspace_id": None}),
            ("GET", f"{path}/items", None),
            ("POST", f"{path}/items", {"items": [USER]}),
            ("GET", f"{path}/items/msg_1", None),
            ("DELETE", f"{path}/items/msg_1", None),
            ("GET", f"{mine}/items/{conversation_id}", None),
        ):
            answer = await client.request(method, then, json=body)
            assert refusal(answer) == (404, "not_found", None), (method, then)
    nul = await client.get(f"{PATH}/%00")
    assert nul.status_code == 400


async def test_a_narrow_key_reads_or_writes_no_more_than_it_may(tenants: Tenants) -> None:
    by_member = await tenants.caller(tenants.a.project_member)
    reads, writes, neither = [
        await new_key(
            by_member,
            KeyCreate(name="x", project_id=tenants.a.project_id, scopes=frozenset({scope})),
        )
        for scope in (Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE, Scope.CHAT_WRITE)
    ]

    made_with = await tenants.call(writes, "POST", PATH, {})
    path = f"{PATH}/{made_with.json()['id']}"

    assert (await tenants.call(reads, "GET", path)).status_code == 200
    for key, method, then in (
        (reads, "POST", PATH),
        (reads, "PATCH", path),
        (reads, "DELETE", path),
        (reads, "PATCH", f"{path}/workspace"),
        (reads, "POST", f"{path}/items"),
        (reads, "DELETE", f"{path}/items/x"),
        (writes, "GET", PATH),
        (writes, "GET", path),
        (writes, "GET", f"{path}/items"),
        (writes, "GET", f"{path}/items/x"),
        (neither, "GET", path),
        (tenants.a.admin_key, "GET", path),
    ):
        answer = await tenants.call(key, method, then, {})
        assert refusal(answer)[:2] == (403, "permission_denied"), (method, then)
