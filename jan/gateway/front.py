"""The outermost layer: every request passes here first and last.

It gives the request its id, refuses it while the process shuts down, answers errors that nothing
within has answered, and at the end counts it, and writes the one log line and the one usage row.
Whatever the answer is, the headers for browsers are on it: they are put together once, not for each
request.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from jan import clients, ids
from jan.chat.dialect import ENDPOINTS
from jan.chat.passage import Passages
from jan.clients import Proxies
from jan.conv.serving import PATH as TALK
from jan.gateway import render, security
from jan.gateway.origins import Origins
from jan.gateway.security import Headers
from jan.metrics.requests import Requests
from jan.telemetry import Exchange

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
PROBES = frozenset({"/healthcheck", "/livez", "/readyz"})
REFUSES_ITSELF = frozenset({TALK, *(endpoint.path for endpoint in ENDPOINTS)})
"""The data plane, once it is known who asks, so that the refusal leaves a usage row."""

log = structlog.get_logger("jan.access")


class Front:
    """An ASGI app around the app."""

    def __init__(  # noqa: PLR0913 - as many as it has neighbours
        self,
        app: ASGIApp,
        record: Callable[[Exchange], None],
        note_use: Callable[[str], None] = lambda _: None,
        requests: Requests | None = None,
        *,
        passages: Passages | None = None,
        origins: Origins | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """Take what runs for long apart, for that is refused and cut by itself."""
        self.app = app
        self.record = record
        self.note_use = note_use
        self.requests = requests or Requests()
        self.origins = origins or Origins()
        self.proxies = proxies or Proxies()
        self._always = (*security.ALWAYS, *self.origins.always)
        self.passages = passages or Passages()
        self.running = 0
        """Requests that have not ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, whatever happens within."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, origin = _read(scope["headers"])
        exchange = Exchange(request_id, scope["method"], scope["path"])
        scope["state"]["exchange"] = exchange
        scope["state"]["proxies"] = self.proxies
        added = self._headers(exchange, scope, origin)
        has_begun = False

        async def send_marked(message: Any) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                exchange.status = message["status"]
                message["headers"] = security.completed(message["headers"], added)
            else:
                exchange.response_bytes += len(message.get("body", b""))
            await send(message)

        self.running += 1
        try:
            if exchange.method == "OPTIONS" and origin is not None:
                # Even while draining: a browser tells a page nothing of a preflight that fails.
                allowed = self.origins.preflight(origin, scope["headers"])
                if allowed is not None:
                    await _answer(send_marked, 204, allowed)
                    return
            if exchange.path not in PROBES | REFUSES_ITSELF:
                self.passages.admit()
            if exchange.method == "HEAD":
                # As GET: the server drops the body, by the scope that it kept for itself.
                scope = {**scope, "method": "GET"}
            await self.app(scope, receive, send_marked)
        except Exception as error:  # noqa: BLE001 - the last stop of a request
            status, headers, body = render.answer(error, exchange)
            if has_begun:  # too late to say so; the server closes the connection
                exchange.status = status
            else:
                raw = [(name.encode(), value.encode()) for name, value in headers]
                raw.append((b"content-length", b"%d" % len(body)))
                await _answer(send_marked, status, raw, body)
        finally:
            self.running -= 1
            self._finish(exchange, scope)

    def _headers(
        self, exchange: Exchange, scope: Scope, origin: bytes | None
    ) -> list[tuple[bytes, bytes]]:
        request_id = exchange.request_id.encode()
        headers = [(b"x-request-id", request_id), *self._always]
        if exchange.path.startswith("/v1/messages"):
            headers.append((b"request-id", request_id))  # where Anthropic's SDKs look for it
        if origin is not None:
            headers += self.origins.headers(origin)
        if self.proxies.networks and clients.is_secure(scope):
            headers.append(security.HTTPS_ONLY)
        if self.passages.is_draining:
            headers.append((b"connection", b"close"))
        return headers

    def _finish(self, exchange: Exchange, scope: Scope) -> None:
        exchange.duration_ms = exchange.elapsed_ms
        route = scope.get("path_template")
        self.requests.count(exchange, route)
        caller = exchange.caller
        if exchange.is_metered:
            self.record(exchange)
        elif caller is not None and caller.key_id is not None:
            self.note_use(caller.key_id)
        ttft_ms = exchange.time_to_first_token_ms
        # Probes come every second, for ever, and say nothing that /readyz does not.
        write = log.debug if exchange.path in PROBES else log.info
        write(
            "request",
            id=exchange.request_id,
            key=caller and caller.key_id,
            user=caller and caller.user_id,
            project=caller and caller.project_id,
            method=exchange.method,
            # The template, not the path: a path may hold anything a client can think of.
            path=route,
            model=exchange.model,
            provider=exchange.provider,
            endpoint=exchange.endpoint_id,
            status=exchange.status,
            error=exchange.error_code,
            bytes_in=exchange.request_bytes,
            bytes_out=exchange.response_bytes,
            queue_ms=exchange.queue_ms and round(exchange.queue_ms, 1),
            ttft_ms=ttft_ms and round(ttft_ms, 1),
            ms=round(exchange.duration_ms, 1),
            prompt_tokens=exchange.prompt_tokens,
            completion_tokens=exchange.completion_tokens,
        )


def _read(headers: Headers) -> tuple[str, bytes | None]:
    """Find the request's id, or make one, and the origin that a browser sent it for."""
    request_id: str | None = None
    origin: bytes | None = None
    for name, value in headers:
        if name == b"origin":
            origin = value
        elif name == b"x-request-id" and SANE_ID.fullmatch(value):
            request_id = value.decode()
    return request_id or ids.new("req"), origin


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
