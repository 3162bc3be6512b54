"""Making a chat fit into the model's context, for requests with `truncation: auto`.

Tokens are counted by the model server only, by refusing: so a part of the messages is dropped that
is likely to be enough, and it is asked again. The oldest go first. Instructions, the last thing
that the user said and the newest message stay.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from jan.errors import JanError
from jan.responses.messages import ChatMessage

MAX_TRIES = 6
"""Requests for one response, the first included. Halving as often leaves a thirty-second part."""
SAFETY = 0.95
"""Characters tell tokens only roughly."""
ROOM_FOR_ANSWER = 0.25
"""Of the context, where the request does not say how long its answer may be."""
PICTURE_SIZE = 4000
"""In characters, for what is not text: a picture takes about a thousand tokens."""

_COUNTS = re.compile(r"context length is (\d+) tokens.*?contains (\d+) input tokens")


def share_to_keep(error: JanError, max_output_tokens: int | None) -> float:
    """Tell how much of the text to keep, from what the model server says. Half, if it is vague."""
    said = _COUNTS.search(error.message)
    if said is None:
        return 0.5
    limit, tokens = int(said[1]), int(said[2])
    room = max_output_tokens or math.ceil(limit * ROOM_FOR_ANSWER)
    return max(0.1, min(SAFETY, SAFETY * (limit - room) / max(tokens, 1)))


def shortened(messages: Sequence[ChatMessage], share: float) -> list[ChatMessage] | None:
    """Drop the oldest until at most this share of the text is left. None: nothing can be dropped.

    Calls and their outputs go together.
    """
    units = _units(messages)
    kept = _kept(units)
    sizes = [sum(map(_size, unit)) for unit in units]
    excess = sum(sizes) * (1 - share)
    dropped: set[int] = set()
    for index in range(len(units)):
        if index in kept:
            continue
        dropped.add(index)
        excess -= sizes[index]
        if excess <= 0:
            break
    if not dropped:
        return None
    return [message for index, unit in enumerate(units) if index not in dropped for message in unit]


def _units(messages: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """Put together what may not be parted: calls and the outputs after them."""
    units: list[list[ChatMessage]] = []
    for message in messages:
        if message["role"] == "tool" and units:
            units[-1].append(message)
        else:
            units.append([message])
    return units


def _kept(units: Sequence[list[ChatMessage]]) -> set[int]:
    roles = [unit[0]["role"] for unit in units]
    kept = {index for index, role in enumerate(roles) if role == "system"}
    kept.add(len(units) - 1)
    if "user" in roles:
        kept.add(len(roles) - 1 - roles[::-1].index("user"))
    return kept


def _size(message: ChatMessage) -> int:
    calls: list[dict[str, Any]] = message.get("tool_calls", [])
    said: str | list[dict[str, Any]] | None = message["content"]
    size = sum(len(call["function"]["arguments"]) for call in calls)
    if isinstance(said, str):
        return size + len(said)
    return size + sum(len(part.get("text", "")) or PICTURE_SIZE for part in said or ())
