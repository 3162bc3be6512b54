"""A minimal OpenAI-compatible server, cheap enough to stand behind what is measured.

`python -m bench.upstream` prints its port. A request may ask for `delay_ms` (silence before the
first byte of the answer's body) and `interval_ms` (between chunks), as a client may send vLLM's own
parameters; `max_tokens` is the number of chunks. `/stats` says what runs and when one was aborted.
"""

import asyncio
import time
from typing import cast

import httptools
import msgspec
import uvloop

MODEL = "mock"
CHUNKS = 64
INTERVAL_MS = 5.0
MIN_CACHED_BYTES = 2048
"""Shorter requests have no prompt worth a look: most benches send nothing else."""
BLOCK_CHARS = 64
"""About 16 tokens: vLLM's block."""
SEEN: set[int] = set()


class StreamOptions(msgspec.Struct):
    """What a client says about its stream."""

    include_usage: bool = False


class Message(msgspec.Struct):
    """One message of a prompt."""

    content: str = ""


class Ask(msgspec.Struct):
    """What this server reads of a chat completion request."""

    stream: bool = False
    max_tokens: int = CHUNKS
    delay_ms: float = 0.0
    interval_ms: float = INTERVAL_MS
    stream_options: StreamOptions | None = None
    messages: list[Message] = []


class Stats(msgspec.Struct):
    """What an observer wants to know; `aborted_at_s` is on the machine's monotonic clock."""

    running: int = 0
    served: int = 0
    busy_s: float = 0.0
    """Of all requests together."""
    blocks: int = 0
    """Of prompts, as an engine's prefix cache counts them."""
    hits: int = 0
    """Of those, the ones that were seen before."""
    aborted: int = 0
    aborted_at_s: float = 0.0


def _plain(content: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(content) + content


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(choices: str, more: str = "") -> bytes:
    start = '"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000'
    return _framed(f'data: {{{start},"model":"{MODEL}","choices":[{choices}]{more}}}\n\n'.encode())


USAGE = (
    '"usage":{"prompt_tokens":23,"total_tokens":87,"completion_tokens":64,'
    '"prompt_tokens_details":{"cached_tokens":16}}'
)
HEALTHY = _plain(b"{}")
MODELS = _plain(
    b'{"object":"list","data":[{"id":"mock","object":"model","created":1700000000,'
    b'"owned_by":"bench","max_model_len":8192}]}'
)
ANSWER = _plain(
    (
        '{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,'
        f'"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"'
        + "All happy families are alike. " * 21
        + '"},"logprobs":null,"finish_reason":"stop"}],'
        + USAGE
        + "}"
    ).encode()
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
TOKEN = _chunk('{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}')
LAST_TOKEN = _chunk('{"index":0,"delta":{"content":" end"},"logprobs":null,"finish_reason":"stop"}')
STREAM_USAGE = _chunk("", "," + USAGE)
DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Exchange(asyncio.Protocol):
    """One connection. Requests are answered in turn; nobody pipelines here."""

    def __init__(self, stats: Stats) -> None:
        self.loop = asyncio.get_running_loop()
        self.stats = stats
        self.is_running = False
        self.started_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are Transports in all but class.
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, msgspec.MsgspecError):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base's signature
        if self.is_running:
            self._end()
            self.stats.aborted += 1
            self.stats.aborted_at_s = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self.path = url
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.path == b"/stats":
            self.transport.write(_plain(msgspec.json.encode(self.stats)))
        elif self.path == b"/v1/models":
            self.transport.write(MODELS)
        elif self.path == b"/v1/chat/completions":
            self._complete(msgspec.json.decode(self.body, type=Ask))
        else:
            self.transport.write(HEALTHY)

    def _complete(self, ask: Ask) -> None:
        self.is_running = True
        self.started_s = self.loop.time()
        self.stats.running += 1
        if len(self.body) > MIN_CACHED_BYTES:
            self._look_up("".join(message.content for message in ask.messages))
        start = self._answer
        if ask.stream:
            self.ask = ask
            self.sent = 0
            self.transport.write(STREAM_HEAD)
            start = self._send_chunk
        if ask.delay_ms:
            self.loop.call_later(ask.delay_ms / 1000, start)
        else:
            start()

    def _look_up(self, prompt: str) -> None:
        """Count the blocks of a prompt that are known from its beginning on, and remember all."""
        key, is_known = 0, True
        for at in range(0, len(prompt) - BLOCK_CHARS + 1, BLOCK_CHARS):
            key = hash((key, prompt[at : at + BLOCK_CHARS]))
            is_known = is_known and key in SEEN
            self.stats.blocks += 1
            self.stats.hits += is_known
            SEEN.add(key)

    def _answer(self) -> None:
        if self.is_running:
            self._end()
            self.transport.write(ANSWER)

    def _send_chunk(self) -> None:
        if not self.is_running:
            return
        if self.sent == 0:
            self.began_s = self.loop.time()
        self.sent += 1
        if self.sent < self.ask.max_tokens:
            self.transport.write(TOKEN)
            # From the beginning, so that late timers do not add up to a slower stream.
            due_s = self.began_s + self.sent * self.ask.interval_ms / 1000
            self.loop.call_at(due_s, self._send_chunk)
            return
        self._end()
        options = self.ask.stream_options
        usage = STREAM_USAGE if options and options.include_usage else b""
        self.transport.write(LAST_TOKEN + usage + DONE)

    def _end(self) -> None:
        self.is_running = False
        self.stats.running -= 1
        self.stats.served += 1
        self.stats.busy_s += self.loop.time() - self.started_s


async def serve() -> None:
    """Listen on a free port, say which, and serve until killed."""
    stats = Stats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(stats), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
