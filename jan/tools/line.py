"""HTTP with one provider that the operator configured: bounded, tried again, and left to rest.

Within one time for all of it, an answer is asked for up to `ATTEMPTS` times: where no connection
could be made, where it broke, where it was nonsense, and at the statuses that say "later", no
sooner than `Retry-After` says. Redirects are not followed: the address is the operator's word.
Nothing of a question is ever logged.
"""

import email.utils
import math
import random
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import msgspec
import structlog

from jan import clock
from jan.errors import InvalidRequest, JanError, Misconfigured, RateLimited, Unavailable
from jan.tools.breaker import Breaker, Resting, Unwell
from jan.tools.provider import Json

ATTEMPTS = 3
FIRST_REST_S = 0.2
"""After the first failure, doubled after the next. Up to as much is added by chance, so that many
who failed together do not come back together."""
CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 50
"""To one provider. Further requests wait, within their time."""
MAX_REST_S = 300.0
"""Longest time that a provider is left alone for, whatever it asks."""
MAX_WORDS = 200
"""Of what a provider says why it refuses."""

GOOD = 200
TOO_MANY = 429
LATER = frozenset({500, 502, 503, 504})
NOT_LET_IN = frozenset({401, 403})
ABOUT_THE_QUESTION = frozenset({400, 404, 422})

log = structlog.get_logger("jan.tools")


class _TooMany(Exception):
    """It takes no more for now."""

    def __init__(self, rest_s: float | None) -> None:
        super().__init__()
        self.rest_s = rest_s


class Line:
    """Connections to one provider."""

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float,
        max_answer_bytes: int,
        not_let_in: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make one. `not_let_in` says what the operator is to do where the provider refuses us."""
        self.name = name
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._not_let_in = not_let_in
        self._headers = dict(headers or {})
        self._breaker = Breaker()
        self._client: httpx2.AsyncClient | None = None
        self._lock = anyio.Lock()

    async def ask(
        self, method: str, url: str, *, json: Any = None, params: Mapping[str, str] | None = None
    ) -> Json:
        """Ask for a JSON object.

        Raises:
            InvalidRequest: the provider refuses the question.
            RateLimited: it takes no more for now; says until when, if it is known.
            Unavailable: it does not answer, or not as it should.
            Misconfigured: it does not let this Jan in.
        """
        ends_s = clock.monotonic_s() + self._timeout_s
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._breaker.attempt():
                    return await self._once(method, url, json, params, ends_s)
            except Resting as resting:
                failure = self._too_many if resting.is_asked else self._unavailable
                rest_s, may_wait = resting.wait_s, resting.is_asked
            except _TooMany as refusal:
                failure, rest_s, may_wait = self._too_many, refusal.rest_s, True
            except Unwell as trouble:
                log.warning("a tool's provider failed", provider=self.name, reason=str(trouble))
                failure, rest_s, may_wait = self._unavailable, trouble.rest_s, True
            if rest_s is not None and may_wait:
                self._breaker.rest(rest_s)
            wait_s = max(rest_s or 0, FIRST_REST_S * 2 ** (attempt - 1))
            wait_s += FIRST_REST_S * random.random()  # noqa: S311 - no secret
            is_late = clock.monotonic_s() + wait_s >= ends_s
            if attempt == ATTEMPTS or is_late or not may_wait:
                raise failure(rest_s)
            await anyio.sleep(wait_s)
        raise AssertionError

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _once(
        self, method: str, url: str, json: Any, params: Mapping[str, str] | None, ends_s: float
    ) -> Json:
        client = await self._connections()
        try:
            with anyio.fail_after(ends_s - clock.monotonic_s()):
                async with client.stream(method, url, json=json, params=params) as answer:
                    body = await self._body(answer)
        except TimeoutError:
            raise Unwell(f"no answer within {self._timeout_s:g} s") from None
        except httpx2.ConnectError as error:
            raise Unwell(str(error)) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unwell(type(error).__name__) from error  # its words may repeat the answer's
        status = answer.status_code
        rest_s = _rest_s(answer.headers.get("retry-after"))
        if status == GOOD:
            return _object(body)
        if status == TOO_MANY:
            raise _TooMany(rest_s)
        if status in LATER:
            raise Unwell(f"status {status}", rest_s)
        raise self._refused(status, body)

    async def _body(self, answer: httpx2.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise Unwell("the answer is compressed, though nobody asked for it")
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > self._max_answer_bytes:
                raise Unwell(f"the answer is longer than {self._max_answer_bytes} bytes")
        return bytes(body)

    def _refused(self, status: int, body: bytes) -> JanError:
        log.warning("a tool's provider refused", provider=self.name, status=status)
        if status in NOT_LET_IN:
            return Misconfigured(f"{self.name} does not let this Jan in. {self._not_let_in}")
        if status in ABOUT_THE_QUESTION:
            return InvalidRequest(f"{self.name} refused the request{_words(body)}.")
        return Misconfigured(
            f"{self.name} answered with status {status}.",
            hint="Look at where it is said to be in the settings.",
        )

    def _unavailable(self, rest_s: float | None) -> JanError:
        return Unavailable(
            f"{self.name} does not answer as it should. Try again later.",
            retry_after_s=_whole(rest_s),
        )

    def _too_many(self, rest_s: float | None) -> JanError:
        return RateLimited(
            f"{self.name} takes no more requests for now.", retry_after_s=_whole(rest_s)
        )

    async def _connections(self) -> httpx2.AsyncClient:
        async with self._lock:
            if self._client is None:
                # It reads the certificates of the machine, for some 30 ms.
                self._client = await anyio.to_thread.run_sync(self._connect)
            return self._client

    def _connect(self) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS)
        return httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(limits=limits),
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "jan",
                **self._headers,
            },
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
        )


def _object(body: bytes) -> Json:
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise Unwell("the answer is no JSON") from error
    if not isinstance(found, dict):
        raise Unwell("the answer is no JSON object")
    return found


def _rest_s(value: str | None) -> float | None:
    """Read `Retry-After`: seconds, or a date. Source: RFC 9110, section 10.2.3."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), MAX_REST_S)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return min(max((until - clock.now()).total_seconds(), 0), MAX_REST_S)


def _whole(rest_s: float | None) -> int | None:
    return None if rest_s is None else max(math.ceil(rest_s), 1)


def _words(body: bytes) -> str:
    """Tell what the provider says why, if it does in its own way."""
    try:
        said = _object(body).get("message")
    except Unwell:
        return ""
    if isinstance(said, str) and 0 < len(said) <= MAX_WORDS and said.isprintable():
        return f": {said.rstrip('.')}"
    return ""
