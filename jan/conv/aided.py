"""Answers a chat in which Jan carries out tools: the loop of responses, told as a chat completion.

The answer begins when the model does: until then a refusal keeps its status, and the turn is taken
back.
"""

from collections.abc import MutableMapping
from contextlib import aclosing
from typing import Any

import msgspec

from jan import ids, telemetry
from jan.chat.dialect import OPENAI
from jan.chat.passage import Passage
from jan.conv import completion
from jan.conv.answer import End
from jan.conv.asking import Asked
from jan.conv.completion import Completion, Delta
from jan.conv.keeping import Keeper
from jan.conv.turn import Turn
from jan.conversations import items
from jan.conversations.items import Item
from jan.errors import JanError
from jan.responses.answering import note_usage
from jan.responses.machine import Machine
from jan.responses.running import Run

Scope = MutableMapping[str, Any]


class Aided:
    """One turn, while the model answers and Jan does what it calls for."""

    def __init__(  # noqa: PLR0913 - as many as it stands between
        self,
        run: Run,
        asked: Asked,
        begun: Turn,
        exchange: telemetry.Exchange,
        passage: Passage,
        *,
        first: bytes,
        tells_usage: bool,
    ) -> None:
        """`first` is the event that a stream begins with."""
        self._run = run
        self._machine = run.machine
        self._asked = asked
        self._turn = begun
        self._exchange = exchange
        self._passage = passage
        self._first = first
        self._tells_usage = tells_usage
        completion_id = begun.answer_id or ids.new("chatcmpl")
        self._completion = Completion(completion_id, exchange.model or asked.model)
        self._keeper = None
        if asked.is_stored:
            self._keeper = Keeper(begun, self._items, exchange, passage)

    async def run(self, scope: Scope) -> None:
        """Have the answer made and send it, until the end or until cut.

        Raises:
            JanError: refused or failed before the answer began. Later than that, the error is
                the stream's last event.
        """
        work = self._stream(scope) if self._exchange.is_stream else self._whole(scope)
        try:
            await self._passage.run(work)
        except JanError as error:
            await self._fail(error)
        finally:
            note_usage(self._exchange, self._machine.usage)

    async def _stream(self, scope: Scope) -> None:
        events = self._run.stream(self._exchange, headers=scope["headers"])
        async with aclosing(events):
            async for batch in events:
                if deltas := self._completion.deltas(batch):
                    await self._tell(deltas)
        if not self._passage.has_begun:  # the model has said nothing at all
            await self._tell([completion.BEGINNING])
        last = self._completion.last(self._machine, tells_usage=self._tells_usage)
        await self._keep()
        await self._passage.end(last)

    async def _tell(self, deltas: list[Delta]) -> None:
        if not self._passage.has_begun:
            await self._passage.begin_stream()
            await self._passage.push(self._first)
        if self._exchange.time_to_first_token_ms is None:
            self._exchange.time_to_first_token_ms = self._exchange.elapsed_ms
        await self._passage.push(b"".join(map(self._completion.chunk, deltas)))

    async def _whole(self, scope: Scope) -> None:
        told: list[Delta] = []
        events = self._run.stream(self._exchange, headers=scope["headers"])
        async with aclosing(events):
            async for batch in events:
                told += self._completion.deltas(batch)
        metadata = msgspec.to_builtins(self._turn.told(self._asked))
        said = self._completion.whole(self._machine, told) | {"metadata": metadata}
        await self._keep()
        await self._passage.answer(200, b"application/json", msgspec.json.encode(said))

    async def _keep(self) -> None:
        if self._keeper is not None:
            await self._keeper.keep("completed")

    async def _fail(self, error: JanError) -> None:
        """End with an error: as an answer if none has begun, as a last event otherwise."""
        if self._keeper is not None:
            await self._keeper.settle(error)
        if not self._passage.has_begun:
            raise error
        exchange = self._exchange
        exchange.status, exchange.error_code = error.status, error.code
        await self._passage.end(OPENAI.error_event(error, exchange.request_id))

    def _items(self, end: End) -> list[Item]:
        assert self._turn.answer_id is not None
        return written(
            self._machine,
            end,
            self._turn.answer_id,
            has_reasoning=bool(self._asked.store_reasoning),
        )


def written(machine: Machine, end: End, message_id: str, *, has_reasoning: bool) -> list[Item]:
    """Write what has come, in the order in which it came: thoughts only if they are wanted.

    The last message has the id that was told; it has no content if the model said nothing. What
    servers have told of their tools is not kept, for they are asked in each turn; that one did not
    answer is.
    """
    finish_reason = completion.finish_reason(machine) if machine.is_over else None
    machine.cut()  # unless it is over
    made: list[Item] = []
    for item in msgspec.to_builtins(machine.response.output):
        is_left_out = (item["type"] == "reasoning" and not has_reasoning) or (
            item["type"] == "mcp_list_tools" and not item["error"]
        )
        if not is_left_out:
            if end == "failed" and item.get("status") == "incomplete":
                item["status"] = end
            made.append(item)
    message = next((item for item in reversed(made) if item["type"] == "message"), None)
    if message is None:
        status = "incomplete" if machine.is_cut_off else end
        message = {"type": "message", "role": "assistant", "content": [], "status": status}
        made.append(message)
    message["id"] = message_id
    if finish_reason is not None:
        message["finish_reason"] = finish_reason
    return [items.with_id(item) for item in made]
