"""HTTP/1.1 as uvicorn speaks it, and where that falls short.

Heads have bounds, errors the one shape, and a client that offers another protocol is answered in
this one.
"""

import asyncio
import re

import httptools
import structlog

# pyright: reportUnnecessaryComparison=false
# uvicorn leaves out that there is no cycle before the first request.
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from jan import ids
from jan.chat.dialect import OPENAI
from jan.errors import HeadersTooLarge, InvalidRequest, JanError, MethodUnknown
from jan.gateway import security

MAX_HEAD_BYTES = 64 * 1024
"""Longest request line and headers, give or take one read. uvicorn has no bound with httptools."""
HEAD_TIMEOUT_S = 30.0
"""From the connection, or the first byte of a later request, to the end of its head."""
REQUEST_LINE = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r?\n")
"""Source: https://www.rfc-editor.org/rfc/rfc9112.html#section-3"""

log = structlog.get_logger("jan.access")


class Protocol(HttpToolsProtocol):
    """One connection of a client."""

    _is_in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's
        """Take the socket. Whoever only connects is not waited for any longer than others."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the socket."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; the `on_` methods below are called from within."""
        self._unset_keepalive_if_required()
        if self._is_in_head:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(
                    HeadersTooLarge(f"The headers are longer than {MAX_HEAD_BYTES} bytes.")
                )
                return
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserInvalidMethodError:
            is_request = REQUEST_LINE.match(data)
            self._refuse(MethodUnknown("There is no such method.") if is_request else _no_request())
            return
        except httptools.HttpParserError:
            self._refuse(_no_request())
            return
        except httptools.HttpParserUpgrade as offered:
            if self._is_upgrade():
                self._ignore_upgrade(data[offered.args[0] :])
            return
        if self._is_in_head and self._head_bytes and self._head_timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Start to answer."""
        if not self._is_upgrade():
            self._is_in_head = False
            self._head_bytes = 0
            self._stop_timer()
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if not self._is_upgrade():
            self._is_in_head = True
            super().on_message_complete()

    def _is_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _is_answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request as if it offered nothing (RFC 9110, section 7.8), its body included.

        Java's client offers h2c with every first request. httptools then takes the body for the
        new protocol's: it would be lost, or, worse, be read as a request of its own.
        """
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        kept = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((head, *kept, b"\r\n", rest)))

    def _refuse(self, error: JanError) -> None:
        """Answer what is no request, unless an answer is on its way, and hang up."""
        if not self._is_answering():
            request_id = ids.new("req")
            body = OPENAI.error_body(error, request_id)
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"x-request-id", request_id.encode()),
                (b"connection", b"close"),
                *security.ALWAYS,
            ]
            head = b"".join(b"%b: %b\r\n" % header for header in headers)
            self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + body)
            # As the front writes one for each request: this one never gets there.
            log.info(
                "request",
                id=request_id,
                status=error.status,
                error=error.code,
                bytes_out=len(body),
            )
        self.transport.close()

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_timeout(self) -> None:
        if not self._is_answering():
            self.transport.close()
        else:  # the next request came too soon: reading it waits for this answer
            self._start_timer()


def _no_request() -> InvalidRequest:
    return InvalidRequest("The request is not valid HTTP/1.1.")
