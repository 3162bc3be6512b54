"""Answers requests for responses: the whole response, or its events as they come.

What the data plane's requests have, these have too: heartbeats, an end when the client leaves or
the process does, a row of usage and a line in the log.
"""

from collections.abc import MutableMapping
from typing import Any

import msgspec

from jan import clock, ids, telemetry
from jan.caller import Caller
from jan.chat import request
from jan.chat.passage import Passage, Passages, Send
from jan.chat.request import Receive
from jan.errors import InvalidRequest, JanError, Unsupported, UpstreamError
from jan.inference.chat import Chat
from jan.inference.upstream import UNREADABLE
from jan.permissions import Scope as Permission
from jan.responses import answering, beginning, reading, running, summary, translation
from jan.responses.answering import Answering
from jan.responses.beginning import Read
from jan.responses.compaction import Seal
from jan.responses.keeping import Forgetful, Stored
from jan.responses.running import Run
from jan.responses.summary import Compacted

Scope = MutableMapping[str, Any]

COUNTING = b"/tokenize"
"""vLLM's own. Other model servers count tokens only by answering."""


class Counted(msgspec.Struct):
    """How many tokens a request would give the model to read."""

    input_tokens: int
    object: str = "response.input_tokens"


class _Tokens(msgspec.Struct):
    count: int


class Responses:
    """What every request for a response needs."""

    def __init__(self, chat: Chat, passages: Passages, seal: Seal, *, max_body_bytes: int) -> None:
        self._chat = chat
        self._seal = seal
        self._passages = passages
        self._max_body_bytes = max_body_bytes

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/responses`.

        Raises:
            JanError: refused or failed before the answer began. Later than that, a stream's last
                event tells it.
        """
        exchange = telemetry.exchange_of(scope)
        exchange.is_metered = True
        asked = reading.read(await self._receive_body(scope, receive))
        caller: Caller = scope["user"]
        exchange.is_stream = bool(asked.create.stream)
        exchange.model = self._chat.model(asked.create.model, caller.allowed_models).id
        if asked.create.background:
            raise Unsupported("Responses are not made in the background yet.", param="background")
        begun = await beginning.begin(caller, asked, self._seal)
        run = Run(self._chat, asked.create, begun.prompt, begun.machine)
        keeper = Stored(caller, begun.machine) if asked.create.is_stored else Forgetful()
        passage = Passage(self._passages, exchange, receive, send)
        await Answering(run, keeper, exchange, passage).answer(scope)

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/responses/input_tokens`. Raises as `create`."""
        exchange = telemetry.exchange_of(scope)
        body = await self._receive_body(scope, receive)
        asked, given = reading.read_count(body)
        caller: Caller = scope["user"]
        if asked.model is None:
            raise InvalidRequest("You must provide the parameter `model`.", param="model")
        exchange.model = self._chat.model(asked.model, caller.allowed_models).id
        said = await beginning.read(caller, asked, given, self._seal)
        to_count = translation.counted(asked, said.told, said.told_before)
        passage = Passage(self._passages, exchange, receive, send)
        await passage.run(
            self._count(to_count | {"model": exchange.model}, exchange, passage, scope)
        )

    async def compact(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/responses/compact`. Raises as `create`."""
        exchange = telemetry.exchange_of(scope)
        exchange.is_metered = True
        asked, given = reading.read_compact(await self._receive_body(scope, receive))
        caller: Caller = scope["user"]
        caller.require_place()  # before the model is asked for what could not be sealed
        exchange.model = self._chat.model(asked.model, caller.allowed_models).id
        said = await beginning.read(caller, asked, given, self._seal)
        question = summary.question(asked, said)
        passage = Passage(self._passages, exchange, receive, send)
        await passage.run(self._compact(question, said, exchange, passage, scope))

    async def _receive_body(self, scope: Scope, receive: Receive) -> bytes:
        caller: Caller = scope["user"]
        caller.require(Permission.RESPONSES_WRITE)
        exchange = telemetry.exchange_of(scope)
        return await request.receive_body(exchange, scope["headers"], receive, self._max_body_bytes)

    async def _count(
        self,
        to_count: dict[str, Any],
        exchange: telemetry.Exchange,
        passage: Passage,
        scope: Scope,
    ) -> None:
        try:
            said = await self._chat.post(
                COUNTING, to_count, request_id=exchange.request_id, headers=scope["headers"]
            )
        except JanError as error:
            if error.status in {404, 405, 501}:
                raise Unsupported("The model server can't count tokens.") from None
            raise
        try:
            tokens = msgspec.json.decode(said, type=_Tokens).count
        except UNREADABLE:
            raise UpstreamError("The model server's answer could not be understood.") from None
        await passage.answer(200, b"application/json", msgspec.json.encode(Counted(tokens)))

    async def _compact(
        self,
        question: dict[str, Any],
        said: Read,
        exchange: telemetry.Exchange,
        passage: Passage,
        scope: Scope,
    ) -> None:
        try:
            answer = await self._chat.whole(
                question, request_id=exchange.request_id, headers=scope["headers"]
            )
        except JanError as error:
            error.param = running.PARAMS.get(error.param or "", error.param)
            raise
        answering.note_usage(exchange, answer.usage)
        sealed = self._seal.close(scope["user"], summary.text_of(answer))
        compacted = Compacted(
            id=ids.new("resp"),
            created_at=int(clock.now().timestamp()),
            output=[*summary.kept(said), sealed],
            usage=summary.usage_of(answer),
        )
        await passage.answer(200, b"application/json", msgspec.json.encode(compacted))
