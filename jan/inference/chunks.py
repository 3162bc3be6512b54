"""What the model server says in chat completions: chunks of a stream, and whole answers.

Only what Jan reads is decoded; the rest of a chunk is skipped. An event is decoded as a whole, so
a character whose bytes arrive in two pieces is never seen in half: the stream is cut between
events, as bytes, before anything becomes text.
"""

import json
from typing import Any

import msgspec

from jan.errors import UpstreamError
from jan.inference.upstream import UNREADABLE


class TopLogprob(msgspec.Struct, gc=False):
    """A token that might have come, and how likely it was."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class Logprob(msgspec.Struct, gc=False):
    """A token that came."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] = []


class Logprobs(msgspec.Struct, gc=False):
    """Of the tokens in one chunk."""

    content: list[Logprob] | None = None


class Function(msgspec.Struct, gc=False):
    """The name of a called function, and more of its arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """More of a call. Only the first piece has the id and the name."""

    index: int | None = None
    """Which of the calls. Some servers leave it out."""
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What is new since the last chunk, or all that there is in a whole answer."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    """The same by its older name."""
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct, gc=False):
    """More of one answer."""

    index: int | None = None
    """Which of several, if they were asked for."""
    delta: Delta | None = None
    message: Delta | None = None
    """In whole answers."""
    finish_reason: str | None = None
    """Some servers write an empty one until there is one."""
    logprobs: Logprobs | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """Tokens of a request."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """Of the prompt, those that were known from before."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def reasoning_tokens(self) -> int:
        """Of the completion, those that were thought and not said."""
        details = self.completion_tokens_details
        return (details and details.reasoning_tokens) or 0


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream, or a whole answer."""

    choices: list[Choice] | None = []
    usage: Usage | None = None
    system_fingerprint: str | None = None
    """Which engine answered. vLLM tells its version here."""
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """What went wrong, after which nothing comes."""


def sum_of(before: Usage | None, usage: Usage) -> Usage:
    """Add the tokens of a request to those of the ones before it."""
    if before is None:
        return usage
    return Usage(
        (before.prompt_tokens or 0) + (usage.prompt_tokens or 0),
        (before.completion_tokens or 0) + (usage.completion_tokens or 0),
        _PromptDetails(before.cached_tokens + usage.cached_tokens),
        _CompletionDetails(before.reasoning_tokens + usage.reasoning_tokens),
    )


_decoder = msgspec.json.Decoder(Chunk)


def read(data: bytes) -> Chunk:
    """Decode the data of an event, or a whole answer.

    What is not UTF-8, and halves of surrogate pairs, become replacement characters.

    Raises:
        UpstreamError: not a chat completion.
    """
    try:
        return _decoder.decode(data)
    except UNREADABLE:
        pass
    try:
        said: Any = json.loads(data.decode(errors="replace"))
        return _decoder.decode(json.dumps(said, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, *UNREADABLE):
        raise UpstreamError("The model server's answer could not be understood.") from None
