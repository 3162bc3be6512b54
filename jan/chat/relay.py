"""The data plane: a request goes to the model server, its answer comes back as it arrives.

Nothing is spawned or timed per chunk. vLLM begins streams at once, so that an answer's status does
not wait for its first token.
"""

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import msgspec

from jan import sse, telemetry
from jan.caller import Caller
from jan.chat import form, reading, request
from jan.chat.dialect import Endpoint
from jan.chat.passage import Passage, Passages, Send
from jan.chat.request import Receive
from jan.errors import JanError, Unsupported, UpstreamError
from jan.inference.ask import JSON, Ask
from jan.inference.catalog import Model
from jan.inference.connection import Connection
from jan.inference.fleet import Fleet
from jan.inference.upstream import refusal

Scope = MutableMapping[str, Any]


class Relay:
    """What every request of the data plane needs, and those that are on their way."""

    def __init__(self, fleet: Fleet, *, heartbeat_s: float, max_body_bytes: int) -> None:
        self.fleet = fleet
        self.max_body_bytes = max_body_bytes
        self.passages = Passages(heartbeat_s=heartbeat_s)

    async def serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            JanError: refused or failed before the answer began. Later than that, the error is
                the stream's last event.
        """
        self.passages.admit()
        exchange = telemetry.exchange_of(scope)
        caller: Caller = scope["user"]
        caller.require(endpoint.scope)
        body = await request.receive_body(exchange, scope["headers"], receive, self.max_body_bytes)
        routing = _read(endpoint, scope, body)
        exchange.is_stream = routing.is_stream
        model = self.fleet.catalog.find(routing.model, caller)
        exchange.model = model.id
        _require(endpoint, model)
        asking = None
        if routing.is_stream and endpoint.may_lack_usage and routing.json is not None:
            asking = request.ask_for_usage(body, routing.json)
        reader = reading.StreamReader(endpoint.dialect, hides_usage=asking is not None)
        passage = Passage(self.passages, exchange, receive, send)
        ask = Ask(
            target_of(endpoint.path, scope),
            scope["headers"],
            body if asking is None else asking,
            exchange,
            model=model.id,
            asked_as=routing.model,
            session=routing.json and routing.json.session,
            content_type=routing.content_type,
            native=target_of(endpoint.native, scope) if endpoint.native else None,
            name_span=routing.name_span,
        )
        await Relayed(self, endpoint, reader, exchange, passage).run(ask)


class Relayed:
    """One request on its way to the model server, and its answer on the way back.

    Who has something to say or to do in between overrides `_begin`, `_deliver` and `_fail`, and
    replaces `_push`.
    """

    def __init__(
        self,
        relay: Relay,
        endpoint: Endpoint,
        reader: reading.StreamReader,
        exchange: telemetry.Exchange,
        passage: Passage,
    ) -> None:
        self._relay = relay
        self._dialect = endpoint.dialect
        self._path = endpoint.path
        self._reader = reader
        self._exchange = exchange
        self._passage = passage
        self._push = passage.push
        """Sends complete events of a stream. No method, so that each event costs one call less."""

    async def run(self, ask: Ask) -> None:
        """Pass the request on and relay the answer, until the end or until cut."""
        try:
            await self._passage.run(self._ask(ask))
        except JanError as error:
            await self._fail(error)

    async def _ask(self, ask: Ask) -> None:
        async with self._relay.fleet.post(ask) as answer:
            if answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                await self._stream(answer)
            else:
                await self._whole(answer)

    async def _whole(self, answer: Connection) -> None:
        body = await answer.read_all()
        if answer.status >= 300:  # noqa: PLR2004
            raise refusal(answer, body, self._path)
        self._count(reading.usage_of(body))
        kind = answer.headers.get(b"content-type", b"application/json")
        await self._deliver(answer.status, kind, body)

    async def _deliver(self, status: int, content_type: bytes, body: bytes) -> None:
        """Send a whole answer."""
        await self._passage.answer(status, content_type, body)

    async def _begin(self, answer: Connection) -> None:
        """Send what comes before the events of a stream."""
        await self._passage.begin_stream(answer.status, answer.headers[b"content-type"])

    async def _stream(self, answer: Connection) -> None:
        if answer.status >= 300:  # noqa: PLR2004
            raise refusal(answer, await answer.read_all(), self._path)
        await self._begin(answer)
        try:
            await self._relay_events(answer)
        finally:
            self._count(self._reader.usage)
            self._note_failure()
        if not self._reader.is_complete:
            raise UpstreamError("The model server ended the stream before its last event.")
        await self._passage.end()

    async def _relay_events(self, answer: Connection) -> None:
        reader, exchange, push = self._reader, self._exchange, self._push
        rest = b""
        while received := await answer.read():
            events, rest = sse.split(rest + received if rest else received)
            if not events or not (events := reader.pass_on(events)):
                continue
            if reader.has_token:
                exchange.note_piece()
            await push(events)

    async def _fail(self, error: JanError) -> None:
        """End with an error: as an answer if none has begun, as a last event otherwise."""
        if not self._passage.has_begun:
            raise error
        if self._reader.is_complete:  # all that was to be said has been
            await self._passage.end()
            return
        exchange = self._exchange
        exchange.status, exchange.error_code = error.status, error.code
        await self._passage.end(self._dialect.error_event(error, exchange.request_id))

    def _note_failure(self) -> None:
        """Book an error event of the model server's own as what it is. The client has seen it."""
        status = self._reader.failure_status
        if status is not None:
            self._exchange.status, self._exchange.error_code = status, UpstreamError.code
            self._relay.fleet.doubt(self._exchange)

    def _count(self, usage: reading.Usage) -> None:
        self._exchange.prompt_tokens = usage.prompt_tokens
        self._exchange.completion_tokens = usage.completion_tokens
        self._exchange.cached_tokens = usage.cached_tokens


class _Routing(NamedTuple):
    """What of a body decides where it goes, and how its answer comes back."""

    model: str
    is_stream: bool
    content_type: bytes = JSON
    json: request.Routing | None = None
    name_span: tuple[int, int] | None = None


def _read(endpoint: Endpoint, scope: Scope, body: bytes) -> _Routing:
    if endpoint.is_form:
        kind = form.content_type(scope["headers"])
        read = form.read(body, kind)
        return _Routing(read.model, read.is_stream, kind, name_span=read.span)
    routing = request.read(body)
    return _Routing(routing.model, bool(routing.stream), json=routing)


def _require(endpoint: Endpoint, model: Model) -> None:
    """Refuse what is known to be beyond a model.

    Raises:
        Unsupported: it is.
    """
    able = model.capabilities
    if able is not msgspec.UNSET and endpoint.needs is not None and endpoint.needs not in able:
        can = ", ".join(able) or "nothing of what is asked for here"
        raise Unsupported(f"The model can't do this (`{endpoint.path}`). It can: {can}.")


def target_of(path: str, scope: Scope) -> bytes:
    """Tell what is asked of a model server: a path, with the query of the request."""
    query = scope.get("query_string")
    return b"%b?%b" % (path.encode(), query) if query else path.encode()
