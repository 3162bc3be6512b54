"""Items as they are kept: with ids, with a status, and in OpenAI's shape."""

from typing import Any

import pytest

from jan.conversations import items
from jan.errors import InvalidRequest

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
MCP_CALL = {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "server_label": "s"}


def test_a_short_message_becomes_a_whole_one() -> None:
    kept = items.with_id(USER | {"id": None, "status": None, "extra": 1})

    assert kept.pop("id").startswith("msg_")
    assert kept == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
        "extra": 1,
    }


def test_parts_have_what_openai_gives_back_with_them() -> None:
    content = [
        {"type": "output_text", "text": "a"},
        {"type": "output_text", "text": "b", "annotations": [{"type": "url_citation"}]},
        {"type": "input_image", "image_url": "data:,"},
        {"type": "refusal", "refusal": "no"},
    ]

    kept = items.with_id({"role": "assistant", "content": content})["content"]

    assert kept[0]["annotations"] == []
    assert kept[2]["detail"] == "auto"
    assert [kept[1], kept[3]] == [content[1], content[3]]


@pytest.mark.parametrize("kind", items.PREFIXES)
def test_each_type_has_ids_of_its_own(kind: str) -> None:
    kept = items.with_id({"type": kind, "role": "user", "content": "hi"})

    assert kept["id"].startswith(f"{items.PREFIXES[kind]}_")


def test_an_id_of_the_clients_own_stays() -> None:
    assert items.with_id(USER | {"id": "mine"})["id"] == "mine"


@pytest.mark.parametrize("status", ["in_progress", "completed", "incomplete", "failed"])
@pytest.mark.parametrize("item", [USER, CALL, MCP_CALL, {"type": "reasoning", "summary": []}])
def test_items_have_one_of_four_statuses(item: dict[str, Any], status: str) -> None:
    assert items.read(item | {"status": status}, "items[0]")
    assert items.status_of(item | {"status": status}) == status


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (USER | {"status": "done"}, "items[3].status"),
        (CALL | {"status": "calling"}, "items[3].status"),
        (USER | {"id": 3}, "items[3].id"),
        (USER | {"id": ""}, "items[3].id"),
        (USER | {"id": "x" * 129}, "items[3].id"),
        (USER | {"id": "a\nb"}, "items[3].id"),
        ({"type": "compaction", "id": {}}, "items[3].id"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        items.read(wrong, "items[3]")

    assert refused.value.param == param


@pytest.mark.parametrize("status", [None, "calling", 3, ["completed"]])
def test_other_statuses_are_the_items_own(status: object) -> None:
    assert items.status_of(MCP_CALL | {"status": status}) is None
