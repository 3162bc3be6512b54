"""Chats that know their conversation, and what becomes of them."""

import json
from typing import Any

import httpx

from jan.caller import Caller
from jan.conversations import record
from jan.conversations.items import Item
from tests.conftest import fetch
from tests.fakes import MODEL, Reply, Script, Seen
from tests.responses.chats import as_events

PATH = "/v1/conv/chat/completions"
CHAT = "/v1/chat/completions"


def user(text: str) -> dict[str, Any]:
    """Write a message of the user's."""
    return {"role": "user", "content": text}


def asks(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write a request that is stored."""
    return {"model": MODEL, "messages": [*messages] or [user("hi")], "store": True} | more


def streams(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write a request for a stream that is stored."""
    return asks(*messages, **more) | {"stream": True}


def says(*chunks: dict[str, Any], is_whole: bool = True) -> Script:
    """Script a stream."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(as_events(*chunks, is_whole=is_whole))

    return script


def answers(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> Script:
    """Script a whole answer."""

    async def script(_: Seen, reply: Reply) -> None:
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        await reply.json({"id": "chatcmpl-1", "choices": [choice]} | more)

    return script


def parsed(content: bytes) -> list[Any]:
    """The data of each event; comments have none."""
    events = [line.removeprefix("data: ") for line in content.decode().split("\n\n") if line]
    return [event if event == "[DONE]" else json.loads(event) for event in events]


async def told(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Ask, and give the metadata of the answer."""
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    if body.get("stream"):
        return parsed(answer.content)[0]
    return answer.json()["metadata"]


async def kept(caller: Caller, metadata: dict[str, Any]) -> list[Item]:
    """The items of the conversation."""
    return await record.history(caller, metadata["conversation_id"])


def brief(items: list[Item]) -> list[tuple[Any, ...]]:
    """Tell items in short: who said what, and how far they got."""
    return [
        (
            item.get("role", item["type"]),
            "".join(part.get("text", part.get("refusal", "")) for part in item.get("content", ()))
            or item.get("arguments", item.get("output", "")),
            item.get("status"),
        )
        for item in items
    ]


async def rows() -> tuple[int, int]:
    """Count conversations and items."""
    [counts] = await fetch(
        "SELECT (SELECT count(*) FROM conversation), (SELECT count(*) FROM conversation_item)"
    )
    return counts[0], counts[1]
