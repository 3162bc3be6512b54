"""The client's side: connections that send their next request as soon as the last is answered.

A raw protocol, because the client shares the cores with what it measures. Every answer is checked
when its clock has stopped: a fast wrong answer is a failure.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import httptools
import msgspec

Check = Callable[[bytes], bool]
"""Whether a body is what was asked for."""

PROMPT = "Tell me a story about a lighthouse keeper. " * 8

CONNECT_AT_ONCE = 64
"""Fewer than any backlog, so that no connection is made twice."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and with what credential and model."""

    name: str
    port: int
    model: str
    key: str = "none"

    def get(self, path: str) -> bytes:
        """Make the bytes of a GET request."""
        return f"GET {path} HTTP/1.1\r\n{self._headers()}\r\n".encode()

    def chat(self, **fields: Any) -> bytes:
        """Make the bytes of a chat completion request."""
        message = {"role": "user", "content": PROMPT}
        fields = {"model": self.model, "messages": [message], **fields}
        return self.post("/v1/chat/completions", fields)

    def response(self, **fields: Any) -> bytes:
        """Make the bytes of a request for a response that is not stored."""
        return self.stored_response(store=False, **fields)

    def stored_response(self, **fields: Any) -> bytes:
        """Make the bytes of a request for a response that is stored."""
        return self.post("/v1/responses", {"model": self.model, "input": PROMPT, **fields})

    def post(self, path: str, fields: dict[str, Any]) -> bytes:
        """Make the bytes of a POST request."""
        content = msgspec.json.encode(fields)
        head = (
            f"POST {path} HTTP/1.1\r\n{self._headers()}"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def _headers(self) -> str:
        return f"host: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.key}\r\n"


@dataclass(slots=True)
class Answer:
    """One request and what became of it. Times are seconds on the monotonic clock."""

    sent_s: float
    is_good: bool = False
    """Whether it came whole, with status 200, and passed the check."""
    first_s: float = 0.0
    """When the first event of a stream came (heartbeats apart), or the first byte of a body."""
    ended_s: float = 0.0
    body: bytes = b""
    """Kept only where there is no check: a fast server's bodies would fill the memory."""


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, following: Callable[[], bytes | None], check: Check | None) -> None:
        self.following = following
        self.check = check
        self.ended = asyncio.get_running_loop().create_future()
        self.answers: list[Answer] = []
        self.answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are Transports in all but class.
        self.transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next request, or close when there is none."""
        request = self.following()
        if request is None:
            self.transport.close()
            return
        self.parser = httptools.HttpResponseParser(self)
        self.answer = Answer(time.monotonic())
        self.answers.append(self.answer)
        self.parts: list[bytes] = []
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        assert self.answer is not None
        if not self.answer.first_s and not body.startswith(b":"):
            self.answer.first_s = time.monotonic()
        self.parts.append(body)

    def on_message_complete(self) -> None:
        assert self.answer is not None
        self.answer.ended_s = time.monotonic()
        body = b"".join(self.parts)
        self.answer.is_good = self.parser.get_status_code() == 200
        if self.check is None:
            self.answer.body = body
        else:
            self.answer.is_good &= self.check(body)
        self.answer = None
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base's signature
        if not self.ended.done():
            self.ended.set_result(None)


@dataclass(frozen=True)
class Load:
    """What one run of the load brought."""

    answers: list[Answer]
    elapsed_s: float

    @property
    def good(self) -> list[Answer]:
        """Answers that came whole and right."""
        return [answer for answer in self.answers if answer.is_good]

    @property
    def failed(self) -> int:
        """Requests that were refused, cut, answered wrongly or never."""
        return len(self.answers) - len(self.good)

    def all_good(self) -> Self:
        """Return itself, for a measure that means nothing where requests fail.

        Raises:
            RuntimeError: some did.
        """
        if self.failed:
            raise RuntimeError(f"{self.failed} of {len(self.answers)} requests failed")
        return self

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return len(self.good) / self.elapsed_s

    def latency_ms(self, percent: float) -> float:
        """From sending a request to the last byte of its answer."""
        return percentile([(a.ended_s - a.sent_s) * 1000 for a in self.good], percent)

    def first_ms(self, percent: float) -> float:
        """From sending a request to the first event of its answer."""
        return percentile([(a.first_s - a.sent_s) * 1000 for a in self.good], percent)


def is_completion(body: bytes) -> bool:
    """Check the answer to a chat completion that was not streamed."""
    return body.startswith(b'{"id"') and body.endswith(b"}")


def is_stream_of(chunks: int) -> Check:
    """Make the check of a stream of the mock's: every token, then `[DONE]` and its blank line.

    Events are not counted: gateways that write them anew add one for the role or for the end.
    """

    def check(body: bytes) -> bool:
        tokens = body.count(b'" token"') + body.count(b'" end"')
        return tokens == chunks and body.endswith(b"data: [DONE]\n\n")

    return check


def percentile(values: list[float], percent: float) -> float:
    """Return the value that `percent` of all values do not exceed; NaN for none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


async def connect(
    target: Target, following: Callable[[], bytes | None], check: Check | None = None
) -> Connection:
    """Open one connection; nothing is sent yet."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(following, check), "127.0.0.1", target.port
    )
    return connection


async def press(  # noqa: PLR0913 - all but the first two are named where it is called
    target: Target,
    request: bytes,
    *,
    connections: int,
    seconds: float | None = None,
    requests: int | None = None,
    check: Check | None = None,
) -> Load:
    """Send `request` over all connections at once, for a time or a number of requests."""
    left = requests if requests is not None else 1 << 60
    ends_s = 0.0

    def following() -> bytes | None:
        nonlocal left
        left -= 1
        return request if left >= 0 and time.monotonic() < ends_s else None

    opened: list[Connection] = []
    while len(opened) < connections:
        count = min(CONNECT_AT_ONCE, connections - len(opened))
        opened += await asyncio.gather(*(connect(target, following, check) for _ in range(count)))
    started_s = time.monotonic()
    ends_s = started_s + (seconds if seconds is not None else 3600)
    for connection in opened:
        connection.send()
    await asyncio.gather(*(connection.ended for connection in opened))
    elapsed_s = time.monotonic() - started_s
    return Load([a for connection in opened for a in connection.answers], elapsed_s)


async def ask(target: Target, request: bytes) -> Answer:
    """Send one request on a connection of its own."""
    load = await press(target, request, connections=1, requests=1)
    return load.answers[0]
