"""Chat completions as model servers write them, in pieces of any kind."""

import json
from collections.abc import Sequence
from typing import Any

from jan.inference import chunks
from jan.inference.chunks import Chunk
from jan.responses import reading, response, tools
from jan.responses.machine import Machine
from tests.fakes import DONE, MODEL, USAGE

ASK = {"model": MODEL, "input": "hi", "store": False}
STREAM = ASK | {"stream": True}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}


def delta(finish_reason: str | None = None, logprobs: Any = None, **fields: Any) -> dict[str, Any]:
    """Write a chunk."""
    choice = {"index": 0, "delta": fields, "logprobs": logprobs, "finish_reason": finish_reason}
    return HEAD | {"choices": [choice]}


def call(index: int | None, arguments: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Write a chunk with a piece of a call. The first piece of one has its name."""
    function: dict[str, Any] = {"arguments": arguments}
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    if name is not None:
        function["name"] = name
        piece |= {"id": f"call_{name}", "type": "function"}
    return delta(tool_calls=[piece | more])


def end(finish_reason: str = "stop") -> dict[str, Any]:
    """Write the chunk that says why it ends."""
    return delta(finish_reason)


def usage() -> dict[str, Any]:
    """Write the chunk that tells the tokens."""
    return HEAD | {"choices": [], "usage": USAGE}


def as_event(chunk: dict[str, Any]) -> bytes:
    """Write a chunk as an event."""
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def as_events(*said: dict[str, Any], is_whole: bool = True) -> list[bytes]:
    """Write a stream."""
    return [*map(as_event, said), *([DONE] if is_whole else [])]


def as_chunk(said: dict[str, Any]) -> Chunk:
    """Read a chunk as it is read from a stream."""
    return chunks.read(json.dumps(said).encode())


def machine(**parameters: Any) -> Machine:
    """Make the machine that answers such a request."""
    asked = reading.read(json.dumps(ASK | parameters).encode())
    begun = response.begun(asked, response_id="resp_1", created_at=1_700_000_000)
    toolset = tools.read(asked.create.tools, asked.create.tool_choice)
    return Machine(begun, asked.create, toolset)


def stream_of(machine: Machine, said: Sequence[dict[str, Any]]) -> bytes:
    """Run chunks through a machine, from the beginning to the end."""
    events = machine.begin()
    for chunk in said:
        events += machine.feed(as_chunk(chunk))
    events += machine.finish()
    return b"".join(events)
