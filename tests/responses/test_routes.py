"""What is stored, read and deleted over HTTP, in the shapes of OpenAI's API."""

from dataclasses import replace

import pytest
from openai.types.responses.response_item import ResponseItem
from pydantic import TypeAdapter

from jan.permissions import Scope
from tests.conftest import fetch
from tests.conversations.owners import new_conversation
from tests.responses import rules
from tests.responses.stored import PATH, Served, rows

_item: TypeAdapter[ResponseItem] = TypeAdapter(ResponseItem)


async def test_responses_are_listed_the_newest_first(served: Served) -> None:
    made = [(await served.ask(f"{number}"))["id"] for number in range(5)]

    first = (await served.client.get(PATH, params={"limit": 3})).json()
    last = (await served.client.get(PATH, params={"limit": 3, "after": first["last_id"]})).json()
    upwards = (await served.client.get(PATH, params={"order": "asc", "limit": 2})).json()
    before = (await served.client.get(PATH, params={"before": made[1], "limit": 2})).json()

    assert [each["id"] for each in first["data"] + last["data"]] == made[::-1]
    assert (first["object"], first["has_more"], last["has_more"]) == ("list", True, False)
    assert (first["first_id"], first["last_id"]) == (made[4], made[2])
    assert [each["id"] for each in upwards["data"]] == made[:2]
    assert [each["id"] for each in before["data"]] == [made[3], made[2]]
    assert first["data"][0] == await served.get(made[4])


async def test_an_empty_list_is_a_list(served: Served) -> None:
    answer = await served.client.get(PATH)

    expected = {"data": [], "has_more": False, "object": "list", "first_id": None, "last_id": None}
    assert answer.json() == expected
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("order=up", "order"),
        ("after=resp_none", "after"),
        ("before=resp_none", "before"),
        ("after=%00", "after"),
        ("after=a&before=b", "before"),
    ],
)
@pytest.mark.parametrize("items", [True, False])
async def test_a_page_that_there_is_not_is_refused(
    served: Served, query: str, param: str, items: bool
) -> None:
    made = await served.ask()
    path = f"{PATH}/{made['id']}/input_items" if items else PATH
    answer = await served.client.get(f"{path}?{query}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_input_items_come_in_pages_the_last_first(served: Served) -> None:
    said = [{"role": "user", "content": f"{number}"} for number in range(5)]
    made = await served.ask(said, instructions="Be brief.")

    first = await served.get(made["id"], "/input_items?limit=3&include[]=reasoning")
    last = await served.get(made["id"], f"/input_items?limit=3&after={first['last_id']}")
    upwards = await served.get(made["id"], "/input_items?order=asc")

    texts = [item["content"][0]["text"] for item in first["data"] + last["data"]]
    assert texts == ["4", "3", "2", "1", "0"]
    assert (first["has_more"], last["has_more"]) == (True, False)
    assert [item["content"][0]["text"] for item in upwards["data"]] == ["0", "1", "2", "3", "4"]
    for item in upwards["data"]:
        _item.validate_python(item)
        assert item["id"].startswith("msg_")
        assert (item["type"], item["status"]) == ("message", "completed")


async def test_input_items_are_those_of_the_response_alone(served: Served) -> None:
    first = await served.ask("one")
    second = await served.ask("two", previous_response_id=first["id"])

    [item] = (await served.get(second["id"], "/input_items"))["data"]

    assert item["content"] == [{"type": "input_text", "text": "two"}]
    output = await served.client.get(
        f"{PATH}/{second['id']}/input_items?after={second['output'][0]['id']}"
    )
    assert output.status_code == 400  # what came of it is not among what went in


async def test_a_deleted_response_is_gone_with_all_that_is_its_own(served: Served) -> None:
    conversation_id = await new_conversation(served.ann)
    made = await served.ask(conversation=conversation_id)

    answer = await served.client.delete(f"{PATH}/{made['id']}")

    expected = {"object": "response.deleted", "id": made["id"], "deleted": True}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert await rows() == []
    assert await fetch("SELECT FROM response_item") == []
    assert len(await fetch("SELECT FROM conversation_item")) == 2
    again = await served.client.delete(f"{PATH}/{made['id']}")
    assert again.status_code == 404


@pytest.mark.parametrize("more", ["", "/input_items"])
async def test_a_strangers_response_looks_like_none(served: Served, more: str) -> None:
    made = await served.ask()

    theirs = await served.stranger.get(f"{PATH}/{made['id']}{more}")
    none = await served.stranger.get(f"{PATH}/resp_none{more}")
    deleted = await served.stranger.delete(f"{PATH}/{made['id']}")
    listed = await served.stranger.get(PATH)

    assert (theirs.status_code, none.status_code, deleted.status_code) == (404, 404, 404)
    said = theirs.json()["error"]["message"].replace(made["id"], "resp_none")
    assert said == none.json()["error"]["message"]
    assert listed.json()["data"] == []
    assert (await served.get(made["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", PATH, {"GET", "POST"}),
        ("DELETE", PATH, {"GET", "POST"}),
        ("GET", f"{PATH}/input_tokens", {"POST"}),
        ("GET", f"{PATH}/compact", {"POST"}),
        ("POST", f"{PATH}/resp_1", {"GET", "DELETE"}),
        ("POST", f"{PATH}/resp_1/input_items", {"GET"}),
    ],
)
async def test_other_methods_are_refused(
    served: Served, method: str, path: str, allowed: set[str]
) -> None:
    answer = await served.client.request(method, path)

    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert set(answer.headers["allow"].split(", ")) - {"OPTIONS"} == allowed


@pytest.mark.parametrize("path", ["/resp_1/nothing", "/resp_1/input_items/msg_1", "/a/b/c"])
async def test_other_paths_are_not_there(served: Served, path: str) -> None:
    answer = await served.client.get(PATH + path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("response_id", ["%00", "x" * 3000, "%F0%9F%8C%8D", "%FF", "'; --"])
async def test_no_id_is_a_fault_of_the_server(served: Served, response_id: str) -> None:
    for more in ("", "/input_items"):
        answer = await served.client.get(f"{PATH}/{response_id}{more}")
        assert answer.status_code in {400, 404}


async def test_only_what_was_made_in_the_background_can_be_streamed_again(served: Served) -> None:
    made = await served.ask()
    answer = await served.client.get(f"{PATH}/{made['id']}?stream=true&starting_after=3")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")


async def test_reading_and_writing_take_scopes_of_their_own(served: Served) -> None:
    made = await served.ask()
    for name, held in (("reader", Scope.RESPONSES_READ), ("writer", Scope.RESPONSES_WRITE)):
        served.keys.callers[name] = replace(served.ann, scopes=frozenset({held}))
    path = f"{PATH}/{made['id']}"
    async with served.gateway.client("reader") as reader, served.gateway.client("writer") as writer:
        reads = [await reader.get(each) for each in (PATH, path, path + "/input_items")]
        refused = [await writer.get(each) for each in (PATH, path, path + "/input_items")]
        refused += [await reader.delete(path), await reader.post(PATH, json={})]
        refused += [await reader.post(f"{PATH}/compact", json={})]
        deleted = await writer.delete(path)

    assert [answer.status_code for answer in reads] == [200] * 3
    assert [answer.status_code for answer in refused] == [403] * 6
    assert deleted.status_code == 200


async def test_a_response_in_the_list_is_what_openai_defines(served: Served) -> None:
    await served.ask(metadata={"a": "b"})
    answer = await served.client.get(PATH)

    body = answer.content
    start = body.index(b"[") + 1
    rules.validate_response(body[start : body.index(b'],"has_more"')])
