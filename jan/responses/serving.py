"""Answers requests for responses: the whole response, or its events as they come.

What the data plane's requests have, these have too: heartbeats, an end when the client leaves or
the process does, a row of usage and a line in the log.
"""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import msgspec

from jan import clock, ids, telemetry
from jan.caller import Caller
from jan.chat import request
from jan.chat.passage import Passage, Passages, Send
from jan.chat.request import Receive
from jan.db import scope as scopes
from jan.errors import Conflict, InvalidRequest, JanError, ModelLoading, Unsupported, UpstreamError
from jan.inference.chat import Chat
from jan.inference.upstream import UNREADABLE
from jan.permissions import Scope as Permission
from jan.responses import (
    answering,
    background,
    beginning,
    follow,
    log,
    reading,
    response,
    running,
    servers,
    store,
    summary,
    translation,
)
from jan.responses.answering import Answering
from jan.responses.beginning import Read
from jan.responses.carrying import Carriers
from jan.responses.compaction import Seal
from jan.responses.keeping import Forgetful, Stored
from jan.responses.leases import Leases
from jan.responses.log import Batch
from jan.responses.news import News
from jan.responses.reading import Asked
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

    def __init__(  # noqa: PLR0913 - as many as it has neighbours
        self,
        chat: Chat,
        passages: Passages,
        seal: Seal,
        leases: Leases,
        news: News,
        *,
        carriers: Carriers | None = None,
        max_body_bytes: int,
    ) -> None:
        """Without `carriers` no tools are carried out here."""
        self._chat = chat
        self._leases = leases
        self._news = news
        self._carriers = carriers
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
        passage = Passage(self._passages, exchange, receive, send)
        if asked.create.background:
            await self._promise(caller, asked, exchange, passage)
            return
        exchange.model = self._chat.model(asked.create.model, caller).id
        begun = await beginning.begin(caller, asked, self._seal)
        response_id = begun.machine.response.id
        tools = self._carriers and self._carriers.of(caller, response_id)
        run = Run(self._chat, asked.create, begun.prompt, begun.machine, tools)
        if not asked.create.is_stored:
            await Answering(run, Forgetful(), exchange, passage).answer(scope)
            return
        lost = Conflict(f"The response `{response_id}` was deleted or given up meanwhile.")
        with self._leases.renewing(
            response_id, store.FIRST_ATTEMPT, lambda: passage.cut(lost)
        ) as lease:
            keeper = Stored(caller, begun.machine, lease)
            await Answering(run, keeper, exchange, passage).answer(scope)

    async def _promise(
        self, caller: Caller, asked: Asked, exchange: telemetry.Exchange, passage: Passage
    ) -> None:
        """Have a response made in the background, and follow its events if that is asked for."""
        servers.refuse_secrets(asked.create.tools or ())
        with suppress(ModelLoading):  # it waits for the model server too
            self._chat.model(asked.create.model, caller)
        exchange.model = asked.create.model
        async with scopes.of(caller) as connection:
            machine = (await beginning.begin(caller, asked, self._seal, status="queued")).machine
            response_id, told = machine.response.id, machine.queue()
            if exchange.is_stream:
                await log.insert(connection, response_id, Batch(0, told))
            await background.enqueue(connection, response_id)
        exchange.is_metered = False  # what is asked of the model server will be
        if exchange.is_stream:
            await follow.send(caller, response_id, -1, self._news, passage)
        else:
            await passage.answer(200, b"application/json", response.encode(machine.response))

    async def resume(
        self, after: int, response_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the events of a response in the background that come after a number.

        Raises:
            JanError: as `follow.require`.
        """
        caller: Caller = scope["user"]
        await follow.require(caller, response_id, after)
        exchange = telemetry.exchange_of(scope)
        exchange.is_stream = True
        passage = Passage(self._passages, exchange, receive, send)
        await follow.send(caller, response_id, after, self._news, passage)

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/responses/input_tokens`. Raises as `create`."""
        exchange = telemetry.exchange_of(scope)
        body = await self._receive_body(scope, receive)
        asked, given = reading.read_count(body)
        caller: Caller = scope["user"]
        if asked.model is None:
            raise InvalidRequest("You must provide the parameter `model`.", param="model")
        exchange.model = self._chat.model(asked.model, caller).id
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
        exchange.model = self._chat.model(asked.model, caller).id
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
            said = await self._chat.post(COUNTING, to_count, exchange, headers=scope["headers"])
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
            answer = await self._chat.whole(question, exchange, headers=scope["headers"])
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
