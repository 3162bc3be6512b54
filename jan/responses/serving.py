"""Answers requests for responses: the whole response, or its events as they come.

What the data plane's requests have, these have too: heartbeats, an end when the client leaves or
the process does, a row of usage and a line in the log.
"""

from collections.abc import MutableMapping
from contextlib import aclosing
from typing import Any

import msgspec

from jan import clock, ids, telemetry
from jan.caller import Caller
from jan.chat import request
from jan.chat.passage import Passage, Passages, Send
from jan.chat.request import ClientGone, Receive
from jan.errors import InvalidRequest, JanError, Unsupported, UpstreamError
from jan.inference.chat import Chat
from jan.inference.upstream import UNREADABLE
from jan.permissions import Scope as Permission
from jan.responses import reading, response, translation
from jan.responses.machine import Machine
from jan.responses.reading import Asked
from jan.responses.running import Run

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

    def __init__(self, chat: Chat, passages: Passages, *, max_body_bytes: int) -> None:
        self._chat = chat
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
        _refuse_what_is_stored(asked)
        prompt = translation.prompt(asked)
        created_at = int(clock.now().timestamp())
        begun = response.begun(asked, response_id=ids.new("resp"), created_at=created_at)
        machine = Machine(begun, asked.create, prompt.toolset)
        run = Run(self._chat, asked.create, prompt, machine)
        passage = Passage(self._passages, exchange, receive, send)
        await _Answering(run, exchange, passage).answer(scope)

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/responses/input_tokens`. Raises as `create`."""
        exchange = telemetry.exchange_of(scope)
        body = await self._receive_body(scope, receive)
        asked, given = reading.read_count(body)
        if asked.previous_response_id is not None or asked.conversation_id is not None:
            raise Unsupported("Nothing is stored here yet.", param="previous_response_id")
        caller: Caller = scope["user"]
        if asked.model is None:
            raise InvalidRequest("You must provide the parameter `model`.", param="model")
        exchange.model = self._chat.model(asked.model, caller.allowed_models).id
        to_count = translation.counted(asked, given) | {"model": exchange.model}
        passage = Passage(self._passages, exchange, receive, send)
        await passage.run(self._count(to_count, exchange, passage, scope))

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


class _Answering:
    """One request whose response is being made."""

    def __init__(self, run: Run, exchange: telemetry.Exchange, passage: Passage) -> None:
        self._run = run
        self._machine = run.machine
        self._exchange = exchange
        self._passage = passage

    async def answer(self, scope: Scope) -> None:
        """Make the response and send it, until the end or until cut."""
        work = self._stream(scope) if self._exchange.is_stream else self._whole(scope)
        try:
            await self._passage.run(work)
        except JanError as error:
            if not self._passage.has_begun:
                raise
            exchange = self._exchange
            exchange.status, exchange.error_code = error.status, error.code
            is_gone = isinstance(error, ClientGone)
            last = self._machine.cut() if is_gone else self._machine.fail(error)
            await self._passage.end(b"".join(last))
        finally:
            self._count()

    async def _whole(self, scope: Scope) -> None:
        await self._run.whole(request_id=self._exchange.request_id, headers=scope["headers"])
        body = response.encode(self._machine.response)
        await self._passage.answer(200, b"application/json", body)

    async def _stream(self, scope: Scope) -> None:
        exchange, passage = self._exchange, self._passage
        events = self._run.stream(request_id=exchange.request_id, headers=scope["headers"])
        async with aclosing(events):
            async for batch in events:
                if not passage.has_begun:
                    await passage.begin_stream()
                elif exchange.time_to_first_token_ms is None and self._machine.has_output:
                    exchange.time_to_first_token_ms = exchange.elapsed_ms
                await passage.push(batch[0] if len(batch) == 1 else b"".join(batch))
        await passage.end()

    def _count(self) -> None:
        usage = self._machine.usage
        if usage is not None:
            self._exchange.prompt_tokens = usage.prompt_tokens or 0
            self._exchange.completion_tokens = usage.completion_tokens or 0
            self._exchange.cached_tokens = usage.cached_tokens


def _refuse_what_is_stored(asked: Asked) -> None:
    """Storage is not there yet."""
    create = asked.create
    if create.is_stored:
        raise Unsupported("Responses are not stored here yet: send `store: false`.", param="store")
    for name in ("previous_response_id", "conversation"):
        if getattr(create, name) is not None:
            raise Unsupported("Nothing is stored here yet.", param=name)
