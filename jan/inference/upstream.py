"""A model server behind Jan: what is sent to it, and what its failures mean to a caller."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from jan.errors import ContextLengthExceeded, JanError, UpstreamError
from jan.inference.client import Client, MayLeave
from jan.inference.connection import Connection

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
    """Sends requests to one model server."""

    def __init__(self, client: Client, *, api_key: str | None) -> None:
        self._client = client
        # Without it any encoding would be welcome (RFC 9110, section 12.5.3).
        self._headers = [(b"accept-encoding", b"identity")]
        if api_key:
            self._headers.append((b"authorization", b"Bearer " + api_key.encode()))
        self._pending: dict[Connection, MayLeave] = {}
        """Those on which the head of an answer is awaited."""

    async def send(
        self,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        may_leave: MayLeave,
    ) -> Connection:
        """Send a request, and wait for the head of its answer. `end` is owed afterwards.

        `may_leave` tells, if it comes to that, whether it could be sent elsewhere.

        Raises:
            Unreachable, ConnectionLost: as they say.
        """
        return await self._client.send(
            b"POST", target, (*headers, *self._headers), body, self._pending, may_leave
        )

    def end(self, answer: Connection) -> None:
        """Be done with an answer. One that was not read to its end is aborted, and generation."""
        self._client.put_back(answer)

    def give_up(self) -> None:
        """Await no head any more of what could be sent elsewhere."""
        for connection, may_leave in list(self._pending.items()):
            if may_leave():
                connection.abort()

    def close(self) -> None:
        """Drop the connections that rest."""
        self._client.close()


def forwarded(
    headers: Iterable[tuple[bytes, bytes]], request_id: str, content_type: bytes
) -> list[tuple[bytes, bytes]]:
    """Tell which headers of a caller's go on, and what is said anew."""
    sent = [(name, value) for name, value in headers if name not in NOT_FORWARDED]
    sent.append((b"content-type", content_type))
    sent.append((b"x-request-id", request_id.encode()))
    return sent


def refusal(answer: Connection, body: bytes, path: str) -> JanError:
    """Put an answer of `path` that is no success into Jan's words."""
    if answer.status < 400:  # noqa: PLR2004 - a redirect: nothing that a model server answers
        return UpstreamError(f"The model server answered with status {answer.status}.")
    return Refused(answer.status, body, answer.headers.get(b"retry-after"), path)


def retry_after_s(answer: Connection) -> int | None:
    """Tell for how long a server asks to be left alone, if it says so in seconds."""
    said = answer.headers.get(b"retry-after", b"")
    return int(said) if said.isdigit() and len(said) < 10 else None  # noqa: PLR2004
