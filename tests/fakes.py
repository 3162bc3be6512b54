"""Local servers that stand for what others run, and do on purpose what those do by accident."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

MODEL = "fake/model-1"
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 3,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
}
FOREVER_S = 3600


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Reply:
    """What a script writes its answer with. Nothing is checked: it may write nonsense."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def raw(self, data: bytes) -> None:
        """Write bytes to the socket."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, **headers: str) -> None:
        """Begin a chunked answer. Underscores in names stand for dashes."""
        lines = [f"HTTP/1.1 {status} Whatever", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        """Write a piece of the body."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked answer."""
        await self.raw(b"0\r\n\r\n")

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        """Answer with one JSON document."""
        await self.whole(json.dumps(value).encode(), status, **headers)

    async def whole(
        self, body: bytes, status: int = 200, content_type: str = "application/json", **headers: str
    ) -> None:
        """Answer with a body of known length."""
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"content-type: {content_type}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def begin_events(self) -> None:
        """Begin a stream as vLLM does."""
        await self.head(content_type="text/event-stream; charset=utf-8")

    async def events(self, events: Sequence[bytes], *, split_every: int = 0) -> None:
        """Answer with a whole stream, in pieces of `split_every` bytes if that is given."""
        await self.begin_events()
        if split_every:
            joined = b"".join(events)
            events = [joined[i : i + split_every] for i in range(0, len(joined), split_every)]
        for event in events:
            await self.chunk(event)
            await asyncio.sleep(0)
        await self.end()

    async def stall(self) -> None:
        """Say no more, until the client leaves."""
        await asyncio.sleep(FOREVER_S)

    def die(self) -> None:
        """Reset the connection, as a killed process does."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection in order, though the answer is not at its end."""
        self._writer.close()


Script = Callable[[Seen, Reply], Awaitable[None]]


def chat_chunk(content: str | None = None, **more: Any) -> bytes:
    """Write one event of a chat stream, as vLLM does."""
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if content is not None:
        delta = {"content": content}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]
    return b"data: " + json.dumps(chunk | {"choices": choices} | more).encode() + b"\n\n"


def usage_chunk() -> bytes:
    """Write the event that tells the tokens."""
    return chat_chunk(choices=[], usage=USAGE)


DONE = b"data: [DONE]\n\n"


def chat_events(*words: str, usage: bool) -> list[bytes]:
    """Write a whole chat stream."""
    end = chat_chunk(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}])
    middle = [chat_chunk(word) for word in words]
    return [chat_chunk(), *middle, end, *([usage_chunk()] if usage else []), DONE]


async def chat(seen: Seen, reply: Reply) -> None:
    """Answer a chat as vLLM does."""
    body = seen.json
    if body.get("stream"):
        asked = (body.get("stream_options") or {}).get("include_usage", False)
        await reply.events(chat_events("Hello", " there", "!", usage=asked))
        return
    message = {"role": "assistant", "content": "Hello there!", "vllm_says": {"a": 1.0}}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
    await reply.json(answer | {"choices": [choice], "usage": USAGE, "kv_transfer_params": None})


async def completions(seen: Seen, reply: Reply) -> None:
    """Answer a completion."""
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": MODEL}
    choice = {"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}
    if seen.json.get("stream"):
        chunk = json.dumps(head | {"choices": [choice]}).encode()
        usage = json.dumps(head | {"choices": [], "usage": USAGE}).encode()
        await reply.events([b"data: %b\n\n" % chunk, b"data: %b\n\n" % usage, DONE])
        return
    await reply.json(head | {"choices": [choice], "usage": USAGE})


async def embeddings(_: Seen, reply: Reply) -> None:
    """Answer with one vector."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    await reply.json({"object": "list", "data": data, "model": MODEL, "usage": usage})


def message_events() -> list[bytes]:
    """Write a whole stream of Anthropic's, as vLLM does."""
    usage = {"input_tokens": 7, "output_tokens": 0, "cache_read_input_tokens": 4}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    message |= {"model": MODEL, "stop_reason": None, "stop_sequence": None, "usage": usage}
    block = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": "Hello"}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": usage | {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


async def messages(seen: Seen, reply: Reply) -> None:
    """Answer in Anthropic's way."""
    if seen.json.get("stream"):
        await reply.events(message_events())
        return
    usage = {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 4}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    content = [{"type": "text", "text": "Hello"}]
    await reply.json(message | {"content": content, "stop_reason": "end_turn", "usage": usage})


async def count_tokens(_: Seen, reply: Reply) -> None:
    """Count some tokens."""
    await reply.json({"input_tokens": 7})


async def tokenize(seen: Seen, reply: Reply) -> None:
    """Count tokens as vLLM does, one for each message."""
    count = len(seen.json["messages"])
    await reply.json({"count": count, "max_model_len": 8192, "tokens": [1] * count})


async def models(_: Seen, reply: Reply) -> None:
    """List the one model, as vLLM does."""
    model = {"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm"}
    await reply.json(
        {"object": "list", "data": [model | {"root": "/srv/x", "max_model_len": 8192}]}
    )


@dataclass
class FakeUpstream:
    """An OpenAI-compatible server that follows scripts, and keeps count of what it sees."""

    port: int = 0
    socket: Path | None = None
    """A Unix socket to listen on in place of the port."""
    requests: list[Seen] = field(default_factory=list[Seen])
    """Of the data plane: all but the model list."""
    running: int = 0
    """Requests of the data plane that are being answered."""
    aborts_s: list[float] = field(default_factory=list[float])
    """When a client left before its answer was complete, on the monotonic clock."""
    scripts: dict[str, Script] = field(
        default_factory=lambda: {
            "/v1/models": models,
            "/v1/chat/completions": chat,
            "/v1/completions": completions,
            "/v1/embeddings": embeddings,
            "/v1/messages": messages,
            "/v1/messages/count_tokens": count_tokens,
            "/tokenize": tokenize,
        }
    )
    connections: int = 0
    """Ever accepted."""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def url(self) -> str:
        """Where it listens, also while it does not."""
        if self.socket:
            return f"unix://{quote(str(self.socket))}"
        return f"http://127.0.0.1:{self.port}"

    def script(self, path: str, script: Script) -> None:
        """Answer requests to `path` so from now on."""
        self.scripts[path] = script

    async def start(self) -> None:
        """Listen: the first time on any free port, later on the same one."""
        if self.socket:
            self._server = await asyncio.start_unix_server(self._serve, self.socket)
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Vanish as after SIGKILL: every connection is reset, new ones are refused."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while not writer.is_closing():
                    await self._answer(await _read_request(reader), reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = seen.target.partition("?")[0]
        is_counted = path != "/v1/models"
        if is_counted:
            self.requests.append(seen)
            self.running += 1
        working = asyncio.ensure_future(self.scripts[path](seen, Reply(writer)))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self.aborts_s.append(time.monotonic())
                raise ConnectionResetError
            working.result()
        finally:
            self.running -= is_counted
            for task in (working, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await task


async def _read_request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    method, target, _ = head[0].split(" ")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body)


@asynccontextmanager
async def fake_upstream(socket: Path | None = None) -> AsyncGenerator[FakeUpstream]:
    """Run one that answers as vLLM does until told otherwise."""
    upstream = FakeUpstream(socket=socket)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.kill()
