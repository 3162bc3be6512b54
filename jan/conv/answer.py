"""What the model says in a chat, gathered while it passes by, and written as items at the end."""

from typing import Literal

from jan import ids
from jan.conv import said
from jan.conversations import items
from jan.conversations.items import Item, Status
from jan.errors import UpstreamError
from jan.inference import chunks
from jan.inference.calls import Call, Calls
from jan.inference.chunks import Choice, Delta, ToolCall
from jan.responses.storable import without_nul

End = Literal["completed", "incomplete", "failed"]
CUT = frozenset({"length", "content_filter"})
"""How a model says that it had more to say."""
BROKEN_OFF = frozenset({"abort", "error"})
"""How vLLM says that it gave up."""


class _Called(Call):
    """A call, and its arguments in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: list[str] = []


class Answer:
    """What has come of one answer. Of several alternatives the first."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        """How the model has ended, if it has."""
        self._thoughts: list[str] = []
        self._words: list[str] = []
        self._refusal: list[str] = []
        self._calls = Calls(_Called)
        self._latest: object = self._words

    def hear(self, data: bytes) -> None:
        """Take the data of an event. What is not understood passes by, and is not kept."""
        try:
            chunk = chunks.read(data)
        except UpstreamError:
            return
        for choice in chunk.choices or ():
            self._take(choice, choice.delta)

    def read(self, body: bytes) -> None:
        """Take a whole answer.

        Raises:
            UpstreamError: it is none.
        """
        choices = chunks.read(body).choices
        if not choices or choices[0].message is None:
            raise UpstreamError("The model server's answer holds no message.")
        message = choices[0].message
        for index, piece in enumerate(message.tool_calls or ()):
            piece.index = index
        self._take(choices[0], message)

    def items(self, end: End, message_id: str, *, has_reasoning: bool) -> list[Item]:
        """Write what has come, in OpenAI's order: thoughts if they are wanted, words, each call.

        There is always a message, for its id has been told: it has no content if the model said
        nothing, or nothing yet.
        """
        if self.finish_reason in CUT:
            end = "incomplete"
        elif self.finish_reason in BROKEN_OFF:
            end = "failed"
        elif self.finish_reason is not None:
            end = "completed"
        made: list[Item] = []
        thoughts = _text(self._thoughts)
        if has_reasoning and thoughts:
            status = end if self._latest is self._thoughts else "completed"
            made.append(said.thought(thoughts) | {"status": status})
        calls = [called for called in self._calls.all if called.name]
        made.append(self._message("completed" if calls else end, message_id))
        for called in calls:
            # Pieces of several calls may come by turns, so none is whole before the end is told.
            is_open = called is self._latest or self.finish_reason is None
            item = said.call(
                called.id or ids.new("call"),
                without_nul(called.name or ""),
                _text(called.arguments),
            )
            made.append(item | {"status": end if is_open else "completed"})
        return [items.with_id(item) for item in made]

    def _message(self, status: Status, message_id: str) -> Item:
        content: list[Item] = []
        if self._words:
            content.append({"type": "output_text", "text": _text(self._words), "logprobs": []})
        if self._refusal:
            content.append({"type": "refusal", "refusal": _text(self._refusal)})
        item: Item = {"type": "message", "id": message_id, "role": "assistant", "content": content}
        item["status"] = status
        if self.finish_reason is not None:
            item["finish_reason"] = self.finish_reason
        return item

    def _take(self, choice: Choice, delta: Delta | None) -> None:
        if choice.index:
            return
        # Whoever goes on after the end has nothing to say.
        if delta is not None and self.finish_reason is None:
            self._add(self._thoughts, delta.reasoning or delta.reasoning_content)
            self._add(self._words, delta.content)
            self._add(self._refusal, delta.refusal)
            for piece in delta.tool_calls or ():
                self._call(piece)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason

    def _add(self, pieces: list[str], piece: str | None) -> None:
        if piece:
            pieces.append(piece)
            self._latest = pieces

    def _call(self, piece: ToolCall) -> None:
        called = self._calls.find(piece)
        if piece.function and piece.function.arguments:
            called.arguments.append(piece.function.arguments)
        self._latest = called


def _text(pieces: list[str]) -> str:
    return without_nul("".join(pieces))
