"""The tools of a chat, where Jan carries out some of them: what is asked is read for the loop.

Those are written as the Responses API has them, functions of the client's as chat completions do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from jan import clock
from jan.chat import request
from jan.conv.asking import Asked, ChatMessage
from jan.conversations import body as bodies
from jan.errors import InvalidRequest, Unsupported
from jan.inference.chat import Chat
from jan.inference.upstream import UNREADABLE
from jan.responses import reading, response, servers, tools
from jan.responses.loop import Tools
from jan.responses.machine import Machine
from jan.responses.running import Run
from jan.responses.schemas import Create, StreamOptions
from jan.responses.tools import Toolset
from jan.responses.translation import Prompt

OURS = frozenset({"tools", "tool_choice"})
"""Fields that the loop writes anew."""


class _Typed(msgspec.Struct):
    type: Any = None


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _ClientTool(msgspec.Struct):
    function: _Function


class _Said(msgspec.Struct):
    model: str
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None


_typed = msgspec.json.Decoder(list[_Typed])


def has_ours(asked: Asked) -> bool:
    """Tell whether Jan is to carry out any. What is no list of tools is for the model server."""
    try:
        return any(servers.are_ours(tool.type) for tool in _typed.decode(asked.tools))
    except UNREADABLE:
        return False


@dataclass(frozen=True, slots=True)
class Aid:
    """What Jan does for one chat."""

    create: Create
    """As the loop has it."""
    toolset: Toolset
    carrying: Tools
    """Carries calls out."""

    def run(
        self,
        chat: Chat,
        members: Mapping[str, Any],
        messages: Sequence[msgspec.Raw | ChatMessage],
    ) -> Run:
        """Make what has the model answer. `members` are all that it gets but for its tools."""
        body = {name: value for name, value in members.items() if name not in OURS}
        body["model"] = self.create.model
        body["messages"] = list(messages)  # to which the loop adds
        asked = reading.Asked(self.create, [], {})
        # Nobody is shown this response: what it is made of is told as a chat.
        begun = response.begun(asked, response_id="", created_at=int(clock.now().timestamp()))
        machine = Machine(begun, self.create, self.toolset)
        prompt = Prompt(body, self.toolset)
        return Run(chat, self.create, prompt, machine, self.carrying, params={})


def read(body: bytes, carrying: Tools) -> Aid:
    """Read what the loop has to know of a request.

    Raises:
        InvalidJSON: the body holds what is no text.
        InvalidRequest: a tool is not as its type wants it, or several answers are wanted.
        Unsupported: a tool is of a type that can't stand beside those that Jan carries out, or its
            calls would have to be allowed.
    """
    said = bodies.convert(bodies.load(body), _Said)
    if said.n is not None and said.n != 1:
        raise InvalidRequest("`n`: there is one answer where Jan carries out tools.", param="n")
    written = [_written(tool, f"tools[{index}]") for index, tool in enumerate(said.tools)]
    toolset = tools.read(written, _choice(said.tool_choice))
    for index, tool in enumerate(written):
        _refuse_approval(tool, f"tools[{index}].require_approval")
    create = Create(
        model=said.model,
        parallel_tool_calls=said.parallel_tool_calls,
        store=False,
        stream_options=StreamOptions(include_obfuscation=False),
    )
    return Aid(create, toolset, carrying)


def _written(tool: dict[str, Any], place: str) -> dict[str, Any]:
    """Write a tool as the Responses API has it."""
    kind = tool.get("type")
    if servers.are_ours(kind):
        return tool
    if kind != "function":
        raise Unsupported(
            f"`{place}.type`: beside tools that Jan carries out there can be functions alone.",
            param=f"{place}.type",
        )
    try:
        function = msgspec.convert(tool, _ClientTool).function
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), place) from None
    return {"type": "function", **msgspec.to_builtins(function)}


def _choice(said: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """Write a choice as the Responses API has it, if it is not written so."""
    match said:
        case {"type": "function", "function": {"name": name}}:
            return {"type": "function", "name": name}
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*allowed], **more}}:
            return {"type": "allowed_tools", "tools": [_choice(tool) for tool in allowed], **more}
        case _:
            return said


def _refuse_approval(tool: dict[str, Any], place: str) -> None:
    """Refuse a server whose calls the client wants to allow one by one."""
    if tool["type"] == "mcp" and tool.get("require_approval") != "never":
        raise Unsupported(
            f"`{place}`: a chat can't ask before each call. Say `never` to allow them all, or use"
            " the Responses API.",
            param=place,
        )
