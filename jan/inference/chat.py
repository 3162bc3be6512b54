"""Chat completions for those who read them: messages go out, decoded chunks come back as they come.

The data plane passes bytes on and reads hardly anything (`jan.chat.relay`); what is built on top of
chat completions asks here, and fails in the same words.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from jan import sse
from jan.errors import InvalidRequest, JanError, UpstreamError
from jan.inference import chunks
from jan.inference.catalog import Catalog, Model
from jan.inference.chunks import Chunk
from jan.inference.connection import Connection, ConnectionLost
from jan.inference.upstream import UNREADABLE, Refused, Upstream, refusal

PATH = b"/v1/chat/completions"
FAREWELL_S = 0.1
"""How long the end of the body may come after the last event. A connection is worth that much."""

Headers = Iterable[tuple[bytes, bytes]]


class _Error(msgspec.Struct):
    code: int | str | None = None


class Chat:
    """The chat completions of the model server."""

    def __init__(self, upstream: Upstream, catalog: Catalog) -> None:
        self._upstream = upstream
        self._catalog = catalog

    def model(self, model_id: str, allowed: Container[str] | None) -> Model:
        """Find the model that is asked for. Raises as `Catalog.find` does."""
        return self._catalog.find(model_id, allowed)

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], *, request_id: str, headers: Headers = ()
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
        async with self._ask(PATH, asked, headers, request_id) as answer:
            if not answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                raise UpstreamError("The model server was asked for a stream and sent none.")
            async with aclosing(_read(answer)) as batches:
                yield batches

    async def whole(
        self, body: Mapping[str, Any], *, request_id: str, headers: Headers = ()
    ) -> Chunk:
        """Ask for an answer in one piece. Cancelling aborts generation. Raises as `stream`."""
        async with self._ask(PATH, body, headers, request_id) as answer:
            chunk = chunks.read(await answer.read_all())
            if not chunk.choices:
                raise UpstreamError("The model server's answer holds no message.")
            return chunk

    async def post(
        self, target: bytes, body: Mapping[str, Any], *, request_id: str, headers: Headers = ()
    ) -> bytes:
        """Ask the model server something else, and give its answer. Raises as `stream`."""
        async with self._ask(target, body, headers, request_id) as answer:
            return await answer.read_all()

    @asynccontextmanager
    async def _ask(
        self, target: bytes, body: Mapping[str, Any], headers: Headers, request_id: str
    ) -> AsyncGenerator[Connection]:
        try:
            encoded = msgspec.json.encode(body)
        except RecursionError:  # what could just be decoded, but not here, further down the stack
            raise InvalidRequest("The request is nested too deeply.") from None
        try:
            async with self._upstream.post(target, headers, request_id, encoded) as answer:
                if answer.status >= 300:  # noqa: PLR2004
                    raise refusal(answer, await answer.read_all(), target.decode())
                yield answer
        except JanError as error:
            if not isinstance(error, Refused | InvalidRequest):
                self._catalog.doubt()
            raise


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
