"""Chat completions for those who read them: messages go out, decoded chunks come back as they come.

The data plane passes bytes on and reads hardly anything (`jan.chat.relay`); what is built on top of
chat completions asks here, and fails in the same words.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from jan import sse
from jan.caller import Caller
from jan.errors import InvalidRequest, JanError, UpstreamError
from jan.inference import chunks
from jan.inference.ask import Ask
from jan.inference.catalog import Model
from jan.inference.chunks import Chunk
from jan.inference.connection import Connection, ConnectionLost
from jan.inference.fleet import Fleet
from jan.inference.upstream import UNREADABLE, Refused, refusal
from jan.telemetry import Exchange

PATH = b"/v1/chat/completions"
FAREWELL_S = 0.1
"""How long the end of the body may come after the last event. A connection is worth that much."""

Headers = Iterable[tuple[bytes, bytes]]


class _Error(msgspec.Struct):
    code: int | str | None = None


class Chat:
    """The chat completions of the fleet's models.

    Who asks, and what became of it, is in the `Exchange` that each request is part of. `session` is
    what several of them have in common whose prompts begin alike.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def model(self, model_id: str, caller: Caller) -> Model:
        """Find the model that is asked for. Raises as `Catalog.find` does."""
        return self._fleet.catalog.find(model_id, caller)

    @asynccontextmanager
    async def stream(
        self,
        body: Mapping[str, Any],
        exchange: Exchange,
        *,
        headers: Headers = (),
        session: str | None = None,
    ) -> AsyncGenerator[AsyncIterator[Sequence[Chunk]]]:
        """Ask for a stream. Inside the block its chunks can be read, all that have come at a time.

        What is not read slows the model server down. Leaving the block aborts generation.

        Raises:
            InvalidRequest: the body is nested too deeply.
            ModelLoading: no connection to the model server.
            Refused: it refused, or says in the middle that it failed.
            UpstreamError: it broke off before the last event, or is not understood.
        """
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with self._ask(PATH, asked, exchange, headers, session) as answer:
            if not answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                raise UpstreamError("The model server was asked for a stream and sent none.")
            async with aclosing(_read(answer)) as batches:
                yield batches

    async def whole(
        self,
        body: Mapping[str, Any],
        exchange: Exchange,
        *,
        headers: Headers = (),
        session: str | None = None,
    ) -> Chunk:
        """Ask for an answer in one piece. Cancelling aborts generation. Raises as `stream`."""
        async with self._ask(PATH, body, exchange, headers, session) as answer:
            chunk = chunks.read(await answer.read_all())
            if not chunk.choices:
                raise UpstreamError("The model server's answer holds no message.")
            return chunk

    async def post(
        self,
        target: bytes,
        body: Mapping[str, Any],
        exchange: Exchange,
        *,
        headers: Headers = (),
        session: str | None = None,
    ) -> bytes:
        """Ask the model server something else, and give its answer. Raises as `stream`."""
        async with self._ask(target, body, exchange, headers, session) as answer:
            return await answer.read_all()

    @asynccontextmanager
    async def _ask(
        self,
        target: bytes,
        body: Mapping[str, Any],
        exchange: Exchange,
        headers: Headers,
        session: str | None,
    ) -> AsyncGenerator[Connection]:
        caller = exchange.caller
        assert caller is not None
        try:
            encoded = msgspec.json.encode(body)
        except RecursionError:  # what could just be decoded, but not here, further down the stack
            raise InvalidRequest("The request is nested too deeply.") from None
        ask = Ask(
            target,
            headers,
            encoded,
            exchange,
            model=self.model(body["model"], caller).id,
            asked_as=body["model"],
            session=session,
        )
        async with self._fleet.post(ask) as answer:
            if answer.status >= 300:  # noqa: PLR2004
                raise refusal(answer, await answer.read_all(), target.decode())
            yield answer


async def _read(answer: Connection) -> AsyncGenerator[Sequence[Chunk]]:
    rest = b""
    has_finished = is_done = False
    while not is_done and (received := await answer.read()):
        events, rest = sse.split(rest + received if rest else received)
        batch: list[Chunk] = []
        try:
            for event in sse.each(events):
                data = sse.data(event)
                if data == b"[DONE]":
                    is_done = True
                elif data:
                    batch.append(_decode(data))
        except JanError:
            if batch:  # what came before the error in the same piece counts
                yield batch
            raise
        if batch:
            has_finished = has_finished or any(map(_has_finished, batch))
            yield batch
    if is_done:
        await _await_end(answer)
    elif not has_finished:
        # Some servers leave `[DONE]` out. None breaks off after it has said why it ended.
        raise UpstreamError("The model server ended the stream before its last event.")


def _has_finished(chunk: Chunk) -> bool:
    return bool(chunk.choices and chunk.choices[0].finish_reason)


def _decode(data: bytes) -> Chunk:
    """Decode an event.

    Raises:
        Refused: it is an error. vLLM repeats in it the status that it would have had.
        UpstreamError: it is not understood.
    """
    chunk = chunks.read(data)
    if chunk.error is msgspec.UNSET or bytes(chunk.error) == b"null":
        return chunk
    try:
        code = msgspec.json.decode(chunk.error, type=_Error).code
    except UNREADABLE:
        code = None
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500  # noqa: PLR2004
    raise Refused(status, data, None, PATH.decode())


async def _await_end(answer: Connection) -> None:
    """Let the body come to its end, so that the connection can be used again."""
    try:
        async with asyncio.timeout(FAREWELL_S):
            while await answer.read():
                pass
    except (TimeoutError, ConnectionLost):
        pass
