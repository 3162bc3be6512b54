"""What Jan reads in answers that pass by: the tokens used, the first token, errors, the end.

Most events are never decoded: a search in the bytes tells whether there is anything to read.
"""

from typing import Any

import msgspec

from jan import sse
from jan.chat.dialect import Dialect
from jan.errors import UpstreamError
from jan.inference.upstream import UNREADABLE


class Usage(msgspec.Struct):
    """Tokens of one request. `prompt_tokens` holds the cached ones too."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Counts(msgspec.Struct):
    """`usage` in both dialects."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def add_to(self, usage: Usage) -> None:
        """Take over what is told. Anthropic tells the prompt first and the answer at the end."""
        cached = self.cache_read_input_tokens
        if self.prompt_tokens_details is not None:
            cached = self.prompt_tokens_details.cached_tokens
        prompt = self.prompt_tokens
        if self.input_tokens is not None:
            prompt = self.input_tokens + (cached or 0) + (self.cache_creation_input_tokens or 0)
        completion = self.completion_tokens
        if completion is None:
            completion = self.output_tokens
        if prompt:
            usage.prompt_tokens = prompt
        if completion:
            usage.completion_tokens = completion
        if cached:
            usage.cached_tokens = cached


class _Message(msgspec.Struct):
    usage: _Counts | None = None


class _Answer(msgspec.Struct):
    """An answer or one chunk of it."""

    usage: _Counts | None = None
    message: _Message | None = None
    choices: list[Any] | None = None


class _Failure(msgspec.Struct):
    error: Any = None


class _Choice(msgspec.Struct):
    delta: dict[str, Any] = {}
    text: str = ""


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    type: str = ""


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(_Chunk)
_failure = msgspec.json.Decoder(_Failure)


def usage_of(body: bytes) -> Usage:
    """Read the tokens of a whole answer. None told, none counted."""
    usage = Usage()
    try:
        answer = _answer.decode(body)
    except UNREADABLE:
        return usage
    if answer.usage is not None:
        answer.usage.add_to(usage)
    return usage


class StreamReader:
    """Sees each event of a stream on its way to the client."""

    def __init__(self, dialect: Dialect, *, hides_usage: bool) -> None:
        self._last_event = dialect.last_event
        self._hides_usage = hides_usage
        self.usage = Usage()
        self.has_token = False
        """Whether anything of the model's own has passed."""
        self.is_complete = False
        """Whether the event has passed after which a stream may end."""
        self.failure_status: int | None = None
        """What the model server's own error event would be as an answer, if one has passed."""

    def pass_on(self, events: bytes) -> bytes:
        """Look at complete events and tell which bytes the client is to get."""
        if not self.has_token:
            self.has_token = any(_has_token(event) for event in sse.each(events))
        if b'"usage"' in events:
            events = self._read_usage(events)
        # Within a string its quotation marks are escaped: text that speaks of errors is none.
        if b'"error"' in events:
            self._read_failure(events)
        if not self.is_complete and self._last_event.search(events):
            self.is_complete = True
        return events

    def _read_failure(self, events: bytes) -> None:
        for event in sse.each(events):
            try:
                error = _failure.decode(sse.data(event)).error
            except UNREADABLE:
                continue
            if error and self.failure_status is None:
                self.failure_status = _status_of(error)
                self.is_complete = True

    def _read_usage(self, events: bytes) -> bytes:
        kept = [event for event in sse.each(events) if not self._is_for_us(event)]
        if not self._hides_usage:
            return events
        # OpenAI's own servers put an empty field into every other chunk once usage is asked for.
        return b"".join(kept).replace(b',"usage":null', b"")

    def _is_for_us(self, event: bytes) -> bool:
        try:
            answer = _answer.decode(sse.data(event))
        except UNREADABLE:
            return False
        counts = answer.usage
        if answer.message is not None:
            counts = answer.message.usage
        if counts is None:
            return False
        counts.add_to(self.usage)
        return answer.choices == []


def _status_of(error: Any) -> int:
    """The status that an error event names (vLLM's `code` is one), or 502."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else UpstreamError.status  # noqa: PLR2004


def _has_token(event: bytes) -> bool:
    try:
        chunk = _chunk.decode(sse.data(event))
    except UNREADABLE:
        return False
    if chunk.type:
        return chunk.type == "content_block_delta"
    return any(
        choice.text or any(value for name, value in choice.delta.items() if name != "role")
        for choice in chunk.choices
    )
