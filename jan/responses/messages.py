"""From items to the messages of a chat, in the order in which chat templates want them.

- Instructions, and system and developer messages that come first, are one system message. Later
  ones stay where they are.
- Calls that were made at once are one message of the assistant's, with the words before them, and
  the outputs follow it at once, wherever the client has put them. A call that was never answered
  is left out: templates and model servers refuse it, and it would block a conversation for good.
- What the assistant has begun to say, and has said nothing of, is left out.
- Thoughts go with what they led to, as vLLM's `reasoning`; its templates leave old ones out.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jan.conversations import items
from jan.conversations.items import (
    CallOutput,
    CustomToolCall,
    FunctionCall,
    Item,
    ItemReference,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    Message,
    Reasoning,
)
from jan.errors import InvalidRequest, Unsupported
from jan.responses import content, tools

ChatMessage = dict[str, Any]

DENIED = "The user did not allow this call."


def translated(
    instructions: str | None, history: Sequence[Item], given: Sequence[Item]
) -> list[ChatMessage]:
    """Translate items. `given` is the request's own input, `history` what came before it.

    Raises:
        InvalidRequest: an output in `given` answers no call; `param` names it.
        Unsupported: an item needs what can't be had here.
    """
    read = [(items.read(item, ""), "") for item in history]
    for index, item in enumerate(given):
        place = f"input[{index}]"
        read.append((items.read(item, place), place))
    writer = _Writer()
    for item, place in read:
        writer.announce(item, place)
    if instructions:
        writer.say("system", instructions)
    for item, place in read:
        writer.add(item, place)
    writer.flush()
    return writer.messages


class _Writer:
    """Writes messages; holds back the assistant's until nothing more can belong to it."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        # Lists, because some models number their calls anew in each turn.
        self._outputs: dict[str, list[tuple[CallOutput, str]]] = {}
        self._known_calls: set[str] = set()
        self._thoughts: list[str] = []
        self._words: str | list[dict[str, Any]] | None = None
        self._calls: list[tuple[str, ChatMessage]] = []

    def announce(self, item: items.AnyItem | None, place: str) -> None:
        """Learn of calls and outputs, before any item is written."""
        if isinstance(item, CallOutput):
            self._outputs.setdefault(item.call_id, []).append((item, place))
        elif isinstance(item, FunctionCall | CustomToolCall):
            self._known_calls.add(item.call_id)
        elif isinstance(item, McpCall):
            answer = CallOutput(item.id, _outcome(item))
            self._outputs.setdefault(item.id, []).append((answer, place))
        elif isinstance(item, McpApprovalResponse) and not item.approve:
            answer = CallOutput(item.approval_request_id, DENIED)
            self._outputs.setdefault(item.approval_request_id, []).append((answer, place))

    def add(self, item: items.AnyItem | None, place: str) -> None:
        """Take the next item. Those that are not named here are not for the model."""
        match item:
            case Message():
                self._add_message(item, place)
            case Reasoning():
                if self._words is not None or self._calls:
                    self.flush()
                self._thoughts.append(item.text)
            case FunctionCall():
                name = tools.name_for_model(item.name, item.namespace)
                self._call(item.call_id, name, item.arguments)
            case CustomToolCall():
                name = tools.name_for_model(item.name, item.namespace)
                argument = msgspec.json.encode({tools.CUSTOM_INPUT: item.input}).decode()
                self._call(item.call_id, name, argument)
            case McpCall() | McpApprovalRequest():
                # A request that was not denied has no outcome, and is left out: if it was allowed,
                # the call is an item of its own.
                self._call(item.id, item.name, item.arguments)
            case CallOutput():
                self._check_answers(item, place)
                self.flush()
            case ItemReference():
                raise Unsupported(f"`{item.id}` is not stored here.", param=f"{place}.id")
            case _:
                pass

    def say(self, role: str, said: str | list[dict[str, Any]]) -> None:
        """Write a message that is not the assistant's."""
        if role == "system" and len(self.messages) == 1 and isinstance(said, str):
            first = self.messages[0]
            if first["role"] == "system" and isinstance(first["content"], str):
                first["content"] += f"\n\n{said}"
                return
        self.messages.append({"role": role, "content": said})

    def flush(self, *, keeps_thoughts: bool = False) -> None:
        """Write what is held back of the assistant's: thoughts, words, calls, and their outputs."""
        calls = self._calls
        if calls:
            calls = [(call_id, call) for call_id, call in calls if self._outputs.get(call_id)]
        if self._words is not None or calls:
            message: ChatMessage = {"role": "assistant", "content": self._words}
            if self._thoughts:
                message["reasoning"] = "\n".join(self._thoughts)
            if calls:
                message["tool_calls"] = [call for _, call in calls]
            self.messages.append(message)
            keeps_thoughts = False
        for call_id, _ in calls:
            output, place = self._outputs[call_id].pop(0)
            said = content.translated(output.output, f"{place}.output")
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": said})
        self._words = None
        self._calls = []
        if not keeps_thoughts:
            self._thoughts = []

    def _add_message(self, item: Message, place: str) -> None:
        said = content.translated(item.content, f"{place}.content")
        if item.role == "assistant":
            self.flush(keeps_thoughts=True)
            self._words = said or None
        else:
            self.flush()
            self.say("user" if item.role == "user" else "system", said)

    def _call(self, call_id: str, name: str, arguments: str) -> None:
        function = {"name": name, "arguments": arguments}
        self._calls.append((call_id, {"id": call_id, "type": "function", "function": function}))

    def _check_answers(self, item: CallOutput, place: str) -> None:
        """Refuse an output to no call, but not in what came before: there it is too late."""
        if place and item.call_id not in self._known_calls:
            raise InvalidRequest(
                f"No tool call was found for the output with call id `{item.call_id}`.",
                param=f"{place}.call_id",
            )


def _outcome(call: McpCall) -> str:
    if call.output is not None:
        return call.output
    said = call.error if isinstance(call.error, str) else msgspec.json.encode(call.error).decode()
    return f"Error: {said}"
