"""How the two protocols of the data plane write an error and end a stream."""

import re
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from jan import sse
from jan.errors import JanError
from jan.inference.registry import Capability
from jan.permissions import Scope

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Source: https://docs.anthropic.com/en/api/errors"""


class Dialect(Protocol):
    """What differs between protocols once a request is on its way."""

    last_event: re.Pattern[bytes]
    """Matches an event after which a stream may end. Anything else cuts it short."""

    def error_body(self, error: JanError, request_id: str) -> bytes:
        """Write an error as the body of an answer."""
        ...

    def error_event(self, error: JanError, request_id: str) -> bytes:
        """Write an error as the last event of a stream."""
        ...


class OpenAI:
    """Source: https://platform.openai.com/docs/guides/error-codes"""  # noqa: D400

    # JSON has no raw line break within, so the start of a line is the start of a field.
    last_event = re.compile(rb"^data: ?(?:\[DONE\]|\{\"error\")", re.MULTILINE)

    def error_body(self, error: JanError, request_id: str) -> bytes:  # noqa: ARG002
        """Write `{"error": {...}}`, all four fields always there."""
        said: dict[str, Any] = {"message": error.message, "type": error.type}
        said |= {"param": error.param, "code": error.code}
        return msgspec.json.encode({"error": said})

    def error_event(self, error: JanError, request_id: str) -> bytes:
        """Write the same as data. The official SDKs raise it as `APIError`."""
        return sse.event(self.error_body(error, request_id))


class Anthropic:
    """Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming#error-events"""  # noqa: D400

    last_event = re.compile(rb"^event: ?(?:message_stop|error)", re.MULTILINE)

    def error_body(self, error: JanError, request_id: str) -> bytes:
        """Write `{"type": "error", ...}`. Our code is one field more."""
        fallback = "api_error" if error.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        kind = ANTHROPIC_TYPES.get(error.status, fallback)
        said = {"type": kind, "message": error.message, "code": error.code}
        return msgspec.json.encode({"type": "error", "error": said, "request_id": request_id})

    def error_event(self, error: JanError, request_id: str) -> bytes:
        """Write the same as an event named `error`."""
        return sse.event(self.error_body(error, request_id), b"error")


OPENAI = OpenAI()
ANTHROPIC = Anthropic()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the data plane. The model server has the same one, or `native`."""

    path: str
    dialect: Dialect
    scope: Scope = Scope.CHAT_WRITE
    needs: Capability | None = None
    """What a model has to be able to do."""
    may_lack_usage: bool = False
    """Whether a stream tells its tokens only if asked to by `stream_options`."""
    is_form: bool = False
    """Whether the body is a form with a file."""
    native: str | None = None
    """What servers call it that are no Jan."""


CHAT = Endpoint("/v1/chat/completions", OPENAI, needs="chat", may_lack_usage=True)
ENDPOINTS = (
    CHAT,
    Endpoint("/v1/completions", OPENAI, needs="completions", may_lack_usage=True),
    Endpoint("/v1/embeddings", OPENAI, Scope.EMBEDDINGS_WRITE, needs="embeddings"),
    Endpoint("/v1/rerank", OPENAI, Scope.EMBEDDINGS_WRITE, needs="rerank"),
    Endpoint("/v1/score", OPENAI, Scope.EMBEDDINGS_WRITE, needs="score"),
    Endpoint("/v1/tokenize", OPENAI, needs="tokenize", native="/tokenize"),
    Endpoint("/v1/detokenize", OPENAI, needs="tokenize", native="/detokenize"),
    Endpoint("/v1/audio/transcriptions", OPENAI, needs="transcription", is_form=True),
    Endpoint("/v1/audio/translations", OPENAI, needs="transcription", is_form=True),
    Endpoint("/v1/messages", ANTHROPIC, needs="chat"),
    Endpoint("/v1/messages/count_tokens", ANTHROPIC),
)


def spoken_at(path: str) -> Dialect:
    """Tell which dialect a client at this path expects, whether the path exists or not."""
    return ANTHROPIC if path == "/v1/messages" or path.startswith("/v1/messages/") else OPENAI
