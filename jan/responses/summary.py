"""What the model is asked when a conversation is to be made shorter, and what is made of it."""

from typing import Any

import msgspec

from jan.conversations.items import Item
from jan.errors import InvalidRequest, UpstreamError
from jan.inference.chunks import Chunk, Usage
from jan.responses import history, messages, response
from jan.responses.beginning import Read
from jan.responses.schemas import Compact

ASK = """\
Summarize our conversation so far, for yourself: it will be all that you know of it, beside what I \
have said. Keep every fact, decision, name, number and open task that may matter for going on, and \
what was found out by tools. Answer with the summary only.\
"""


class Compacted(msgspec.Struct, kw_only=True):
    """What stands for a conversation. Source: OpenAI's `CompactedResponse`."""

    id: str
    object: str = "response.compaction"
    created_at: int
    output: list[Item]
    usage: response.Usage


def question(asked: Compact, said: Read) -> dict[str, Any]:
    """Write the chat completion that sums up.

    Raises:
        InvalidRequest: there is nothing to sum up.
    """
    read = messages.translated(asked.instructions, said.told_before, said.told)
    if all(message["role"] == "system" for message in read):
        raise InvalidRequest("You must provide the parameter `input`.", param="input")
    body: dict[str, Any] = {
        "model": asked.model,
        "messages": [*read, {"role": "user", "content": ASK}],
    }
    if asked.prompt_cache_key is not None:
        body["prompt_cache_key"] = asked.prompt_cache_key
    return body


def text_of(answer: Chunk) -> str:
    """Read the summary.

    Raises:
        UpstreamError: the model has written none.
    """
    message = answer.choices[0].message if answer.choices else None
    text = (message.content or "").strip() if message is not None else ""
    if not text:
        raise UpstreamError("The model has written no summary.")
    return text


def kept(said: Read) -> list[Item]:
    """Give what is not summed up: the user's own words, as they are."""
    return [
        item
        for item in history.named([*said.before, *said.given])
        if item["type"] == "message" and item["role"] == "user"
    ]


def usage_of(answer: Chunk) -> response.Usage:
    """Tell what it has cost."""
    return response.usage_of(answer.usage or Usage())
