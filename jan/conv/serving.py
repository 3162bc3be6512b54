"""Answers chats that know their conversation: what the data plane does, and what they remember.

The model server's answer is relayed as it comes, byte for byte. A stream has one event more, its
first, and its last is held back until what was said is kept; so is a whole answer. Chats in which
Jan carries out tools are answered by `jan.conv.aided`.
"""

import json
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from jan import sse, telemetry
from jan.caller import Caller
from jan.chat import reading, request
from jan.chat.dialect import CHAT, OPENAI
from jan.chat.passage import Passage, Send
from jan.chat.relay import Relay, Relayed, target_of
from jan.chat.request import Receive
from jan.conv import asking, turn
from jan.conv import tools as conv_tools
from jan.conv.aided import Aided
from jan.conv.answer import Answer, End
from jan.conv.asking import Asked
from jan.conv.keeping import Keeper
from jan.conv.tools import Aid
from jan.conv.turn import Turn
from jan.conversations.items import Item
from jan.errors import JanError, Unsupported, UpstreamError
from jan.inference.ask import Ask
from jan.inference.chat import Chat
from jan.inference.connection import Connection
from jan.inference.upstream import UNREADABLE
from jan.permissions import Scope as Permission
from jan.responses.loop import Tools

Scope = MutableMapping[str, Any]

PATH = "/v1/conv/chat/completions"
FIRST = {"object": "chat.completion.metadata"}
NO_CHOICES: dict[str, Any] = {"choices": []}
"""The first event is no chunk, but is read as one by OpenAI's SDKs, which want these."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Talks:
    """What every chat that knows its conversation needs."""

    def __init__(self, relay: Relay, tools: Callable[[Caller], Tools] | None = None) -> None:
        """`tools` makes what carries tools out for a caller. None: nobody does."""
        self._relay = relay
        self._tools = tools
        self._chat = Chat(relay.fleet)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a POST to `PATH`.

        Raises:
            JanError: refused or failed before the answer began. Later than that, the error is
                the stream's last event.
        """
        relay = self._relay
        relay.passages.admit()
        exchange = telemetry.exchange_of(scope)
        caller: Caller = scope["user"]
        caller.require(CHAT.scope)
        body = await request.receive_body(exchange, scope["headers"], receive, relay.max_body_bytes)
        asked = asking.read(body)
        if asked.conversation is not None:
            caller.require(Permission.CONVERSATIONS_READ)
        if asked.is_stored:
            caller.require(Permission.CONVERSATIONS_WRITE)
        exchange.is_stream = bool(asked.stream)
        exchange.model = relay.fleet.catalog.find(asked.model, caller).id
        asking_usage = request.ask_for_usage(body, asked) if exchange.is_stream else None
        members = asking.for_model(asking_usage or body)
        aid = self._aid(caller, body) if conv_tools.has_ours(asked) else None
        begun, messages = await turn.begin(caller, asked, exchange.model)
        if messages is not None:
            members["messages"] = messages
        passage = Passage(relay.passages, exchange, receive, send)
        if aid is None:
            talk = _Talk(
                relay, exchange, passage, asked, begun, hides_usage=asking_usage is not None
            )
            await talk.run(
                Ask(
                    target_of(CHAT.path, scope),
                    scope["headers"],
                    msgspec.json.encode(members),
                    exchange,
                    model=exchange.model,
                    asked_as=asked.model,
                    session=begun.conversation_id,
                )
            )
            return
        run = aid.run(self._chat, members, messages or asked.messages)
        first = _first(begun, asked)
        await Aided(
            run, asked, begun, exchange, passage, first=first, tells_usage=asking_usage is None
        ).run(scope)

    def _aid(self, caller: Caller, body: bytes) -> Aid:
        if self._tools is None:
            raise Unsupported("`tools`: no tools are carried out here.", param="tools")
        return conv_tools.read(body, self._tools(caller))


class _Listener(reading.StreamReader):
    """Hears what the model says."""

    def __init__(self, answer: Answer, *, hides_usage: bool) -> None:
        super().__init__(OPENAI, hides_usage=hides_usage)
        self._answer = answer

    def pass_on(self, events: bytes) -> bytes:
        for event in sse.each(events):
            data = sse.data(event)
            if data and data != b"[DONE]":
                self._answer.hear(data)
        return super().pass_on(events)


class _Talk(Relayed):
    """One turn, while the model answers."""

    def __init__(  # noqa: PLR0913 - as many as it stands between
        self,
        relay: Relay,
        exchange: telemetry.Exchange,
        passage: Passage,
        asked: Asked,
        begun: Turn,
        *,
        hides_usage: bool,
    ) -> None:
        self._asked = asked
        self._turn = begun
        self._answer = Answer()
        self._keeper = Keeper(begun, self._items, exchange, passage)
        if asked.is_stored:
            reader = _Listener(self._answer, hides_usage=hides_usage)
        else:
            reader = reading.StreamReader(OPENAI, hides_usage=hides_usage)
        super().__init__(relay, CHAT, reader, exchange, passage)
        if asked.is_stored:
            self._push = self._keep_and_push

    async def _begin(self, answer: Connection) -> None:
        await super()._begin(answer)
        await self._passage.push(_first(self._turn, self._asked))

    async def _keep_and_push(self, events: bytes) -> None:
        """Send events; what ends the stream only when what was said is kept."""
        if self._reader.is_complete:
            try:
                has_failed = self._reader.failure_status is not None
                await self._keeper.keep("failed" if has_failed else "completed")
            except BaseException:
                self._reader.is_complete = False  # the client has not seen the end, and will not
                raise
        await self._passage.push(events)

    async def _deliver(self, status: int, content_type: bytes, body: bytes) -> None:
        if self._asked.is_stored:
            self._answer.read(body)
        told = _with_metadata(body, self._turn, self._asked)
        if self._asked.is_stored:
            await self._keeper.keep("completed")
        await super()._deliver(status, content_type, told)

    async def _fail(self, error: JanError) -> None:
        if self._asked.is_stored:
            await self._keeper.settle(error)
        await super()._fail(error)

    def _items(self, end: End) -> list[Item]:
        assert self._turn.answer_id is not None
        return self._answer.items(
            end, self._turn.answer_id, has_reasoning=bool(self._asked.store_reasoning)
        )


def _first(begun: Turn, asked: Asked) -> bytes:
    """Write the event that a stream begins with."""
    first = FIRST | msgspec.to_builtins(begun.told(asked)) | NO_CHOICES
    return sse.event(msgspec.json.encode(first))


def _with_metadata(body: bytes, begun: Turn, asked: Asked) -> bytes:
    """Tell in a whole answer where it is. All else in it stays as it came."""
    added: dict[str, Any] = {"metadata": msgspec.to_builtins(begun.told(asked))}
    if begun.answer_id is not None:
        added["id"] = begun.answer_id
    try:
        return msgspec.json.encode(_members.decode(body) | added)
    except UNREADABLE:
        pass
    try:
        said: Any = json.loads(body.decode(errors="replace"))
        return json.dumps(said | added).encode()
    except (ValueError, TypeError, RecursionError):
        raise UpstreamError("The model server's answer could not be understood.") from None
