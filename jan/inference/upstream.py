"""The model server behind Jan: what is sent to it, and what its failures mean to a caller."""

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from jan.errors import ContextLengthExceeded, JanError, ModelLoading, UpstreamError
from jan.inference.client import Client, Unreachable
from jan.inference.connection import Connection, ConnectionLost
from jan.inference.images import Images

RETRY_AFTER_S = 5
"""What a client is told to wait while a model loads: short beside the load, long beside a poll."""

NOT_FORWARDED = frozenset(
    {
        # RFC 9110, section 7.6.1: these speak of one connection only.
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"content-length", b"expect", b"host"),
        # What lets a client into Jan is not the model server's to see.
        *(b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"cookie"),
        # Whether a page or a proxy may ask was decided here; some model servers would decide again.
        *(b"origin", b"referer", b"forwarded", b"x-real-ip"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        # Said anew: what is relayed must be readable here, and is JSON whatever it was called.
        *(b"accept-encoding", b"content-type", b"x-request-id"),
    }
)

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's error type by status, where it is not told by the hundreds alone."""

CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "permission_denied",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
"""Our code by status, where the model server gives none (vLLM repeats the status instead)."""

NO_SUCH_PATH = re.compile(r"not found\.?", re.IGNORECASE)
"""All that Starlette says of a path without a route. vLLM has routes for what its model can do, and
none for embeddings where the model makes none."""
MAX_PROBLEMS = 3
"""Told of a body with several. One mistake in a message can be reported once for each role."""
TOO_LONG = "maximum context length"
"""How vLLM, and OpenAI, say that a prompt is longer than the context."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a document that is not what was expected, or not JSON, or not text."""


class Refused(JanError):
    """The model server refused; its status and what it said are handed on."""

    def __init__(self, status: int, body: bytes, retry_after: bytes | None, path: str) -> None:
        said = _read_error(body)
        words = said.message or f"The model server answered with status {status}."
        if status == 404 and NO_SUCH_PATH.fullmatch(words):  # noqa: PLR2004
            words = f"The model can't do this: its server has no `{path}`."
        super().__init__(
            words,
            param=said.param,
            retry_after_s=int(retry_after) if retry_after and retry_after.isdigit() else None,
        )
        is_fault_of_caller = status < 500  # noqa: PLR2004
        fallback = "invalid_request_error" if is_fault_of_caller else "server_error"
        self.status = status
        self.type = TYPES.get(status, fallback)
        code = said.code
        if code is None and status == 400 and TOO_LONG in words:  # noqa: PLR2004
            code = ContextLengthExceeded.code
        self.code = code or CODES.get(
            status, "invalid_request" if is_fault_of_caller else "upstream_error"
        )


class _Said(NamedTuple):
    message: str | None = None
    param: str | None = None
    code: str | None = None
    """If it is a word: vLLM repeats the status there."""


def _read_error(body: bytes) -> _Said:
    """Find the words in whatever shape they come: OpenAI's and its many likenesses, or FastAPI's.

    `{"error": {...}}`, `{"error": "..."}`, `{"detail": "..."}`, `{"detail": [{"loc", "msg"}]}`, or
    the fields of an error at the top.
    """
    try:
        told = msgspec.json.decode(body)
    except UNREADABLE:
        return _Said()
    if isinstance(told, dict):
        told = told.get("error") or told.get("detail") or told
    if isinstance(told, str):
        return _Said(told)
    if isinstance(told, list):
        return _read_problems(told)
    if isinstance(told, dict):
        message, param, code = (_text(told.get(name)) for name in ("message", "param", "code"))
        return _Said(message, param, code if code and not code.isdigit() else None)
    return _Said()


def _read_problems(told: list[Any]) -> _Said:
    """What pydantic found wrong in a body, where, and without what it found there."""
    problems: list[tuple[str, str]] = []
    for problem in told[:MAX_PROBLEMS]:
        try:
            parts = [part for part in problem["loc"] if part != "body"]
            place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
            problems.append((place.lstrip("."), str(problem["msg"])))
        except (TypeError, KeyError):
            continue
    if not problems:
        return _Said()
    words = "; ".join(f"`{place}`: {words}" if place else words for place, words in problems)
    return _Said(words, problems[0][0] or None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


class Upstream:
    """Sends requests to the model server and tells its failures in Jan's words."""

    def __init__(self, client: Client, *, api_key: str | None, images: Images | None) -> None:
        """Without `images`, requests go on as they are: the server fetches what they name."""
        self._client = client
        self._images = images
        # Without the second, any encoding would be welcome (RFC 9110, section 12.5.3).
        self._headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity")]
        if api_key:
            self._headers.append((b"authorization", b"Bearer " + api_key.encode()))

    @asynccontextmanager
    async def post(
        self, target: bytes, headers: Iterable[tuple[bytes, bytes]], request_id: str, body: bytes
    ) -> AsyncGenerator[Connection]:
        """Send a caller's request, with their headers but for `NOT_FORWARDED`.

        Images that it names by URL are put into it first. Leaving the block before the answer's
        end aborts generation.

        Raises:
            InvalidRequest: as `Images.inlined`.
            ModelLoading: no connection to the model server.
            UpstreamError: it closed the connection before the end of its answer.
        """
        if self._images is not None:
            body = await self._images.inlined(body)
        sent = [(name, value) for name, value in headers if name not in NOT_FORWARDED]
        sent += self._headers
        sent.append((b"x-request-id", request_id.encode()))
        try:
            async with self._client.request(b"POST", target, sent, body) as answer:
                yield answer
        except Unreachable:
            raise loading() from None
        except ConnectionLost:
            raise UpstreamError(
                "The model server stopped before its answer was complete."
            ) from None

    async def get(self, target: bytes) -> bytes:
        """Fetch a JSON document.

        Raises:
            Unreachable, ConnectionLost: as they say.
            UpstreamError: an answer, but not of status 200.
        """
        async with self._client.request(b"GET", target, self._headers) as answer:
            body = await answer.read_all()
            if answer.status != 200:  # noqa: PLR2004
                raise UpstreamError(f"status {answer.status}")
            return body


def refusal(answer: Connection, body: bytes, path: str) -> JanError:
    """Put an answer of `path` that is no success into Jan's words."""
    if answer.status < 400:  # noqa: PLR2004 - a redirect: nothing that a model server answers
        return UpstreamError(f"The model server answered with status {answer.status}.")
    return Refused(answer.status, body, answer.headers.get(b"retry-after"), path)


def loading() -> ModelLoading:
    """Say that no model can answer yet."""
    return ModelLoading(
        "The model is not ready: it is loading or being restarted. Try again in a few seconds.",
        retry_after_s=RETRY_AFTER_S,
    )
