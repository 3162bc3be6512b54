"""From the messages of a chat to the items that a conversation keeps.

What could not be given to the model again is not kept but refused: it would block the conversation
for good.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from jan.chat import request
from jan.conv.asking import ChatMessage
from jan.conversations import items
from jan.conversations.items import CallOutput, Item, Message
from jan.errors import InvalidRequest
from jan.responses import content

Parts = str | list[dict[str, Any]]

INSTRUCTING = frozenset({"system", "developer"})


class _Function(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _Call(msgspec.Struct):
    id: str
    function: _Function


class _Said(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Parts | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


def instructing(messages: Sequence[ChatMessage]) -> int:
    """Count the system and developer messages that a chat begins with."""
    return _run(messages, INSTRUCTING)


def answering(messages: Sequence[ChatMessage]) -> int:
    """Count the outputs of tools that these messages begin with."""
    return _run(messages, {"tool"})


def new(messages: Sequence[ChatMessage]) -> int:
    """Find where what is new begins in a chat that is all there: after the model's last words."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "assistant":
            return index + 1
    return 0


def text_of(message: ChatMessage, place: str) -> str:
    """Read a message that is nothing but text.

    Raises:
        InvalidRequest: its content is none; `param` begins with `place`.
    """
    [item] = as_items(message, place)
    said = content.translated(_read(item, place).content, f"{place}.content")
    if isinstance(said, str):
        return said
    raise InvalidRequest(
        f"`{place}.content`: instructions are nothing but text.", param=f"{place}.content"
    )


def as_items(message: ChatMessage, place: str, *, has_reasoning: bool = False) -> list[Item]:
    """Write a message as items: thoughts if they are wanted, words, and each call.

    Raises:
        InvalidRequest: it is no message, or can't be kept; `param` begins with `place`.
        Unsupported: it could never be given to a model again.
    """
    try:
        said = msgspec.convert(message, _Said)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), place) from None
    if said.role == "tool":
        made = [_output(said, place)]
    elif said.role == "assistant":
        made = _of_model(said, place, has_reasoning=has_reasoning)
    else:
        made = [_message(said.role, _parts(_needed(said.content, place), "input_text", place))]
    for item in made:
        _check(item, place)
    return [items.with_id(item) for item in made]


def _of_model(said: _Said, place: str, *, has_reasoning: bool) -> list[Item]:
    made: list[Item] = []
    thoughts = said.reasoning or said.reasoning_content
    if has_reasoning and thoughts:
        made.append(thought(thoughts))
    parts = _parts(said.content or [], "output_text", place)
    if said.refusal:
        parts.append({"type": "refusal", "refusal": said.refusal})
    if parts or not said.tool_calls:
        made.append(_message("assistant", parts))
    made += [
        call(called.id, called.function.name, called.function.arguments)
        for called in said.tool_calls or ()
    ]
    return made


def thought(text: str) -> Item:
    """Write what the model thought."""
    return {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
    }


def call(call_id: str, name: str, arguments: str) -> Item:
    """Write a call of the model's."""
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def _output(said: _Said, place: str) -> Item:
    if said.tool_call_id is None:
        raise InvalidRequest(
            f"You must provide the parameter `{place}.tool_call_id`.",
            param=f"{place}.tool_call_id",
        )
    output = _needed(said.content, place)
    if not isinstance(output, str):
        output = _parts(output, "input_text", place)
    return {"type": "function_call_output", "call_id": said.tool_call_id, "output": output}


def _message(role: str, parts: list[dict[str, Any]]) -> Item:
    return {"type": "message", "role": role, "content": parts}


def _needed(content: Parts | None, place: str) -> Parts:
    if content is None:
        raise InvalidRequest(
            f"You must provide the parameter `{place}.content`.", param=f"{place}.content"
        )
    return content


def _parts(content: Parts, text_type: str, place: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": text_type, "text": content}]
    return [
        _part(part, text_type, f"{place}.content[{index}]") for index, part in enumerate(content)
    ]


def _part(part: dict[str, Any], text_type: str, place: str) -> dict[str, Any]:
    """Write a part as items have it. What is wrong within it is found by who reads the item."""
    match part:
        case {"type": "text"}:
            return part | {"type": text_type}
        case {"type": "image_url", "image_url": {"url": url, **more}}:
            return {"type": "input_image", "image_url": url, "detail": more.get("detail") or "auto"}
        case {"type": "file", "file": dict(file)}:
            return {"type": "input_file", **file}
        case {"type": "input_audio" | "refusal"}:
            return part
        case _:
            raise InvalidRequest(
                f"`{place}`: no conversation can hold a part of type `{part.get('type')}`.",
                param=place,
            )


def _check(item: Item, place: str) -> None:
    """Refuse what could not be read, or not be given to a model again."""
    read = items.read(item, place)
    if isinstance(read, Message):
        content.translated(read.content, f"{place}.content")
    elif isinstance(read, CallOutput):
        content.translated(read.output, f"{place}.content")


def _read(item: Item, place: str) -> Message:
    read = items.read(item, place)
    assert isinstance(read, Message)
    return read


def _run(messages: Sequence[ChatMessage], roles: frozenset[str] | set[str]) -> int:
    count = 0
    while count < len(messages) and messages[count].get("role") in roles:
        count += 1
    return count
