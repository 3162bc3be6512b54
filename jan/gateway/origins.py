"""Which web pages of other origins may read what Jan answers (CORS).

Nothing is refused here: a browser that is not told that a page may read an answer keeps it from
the page, and asks beforehand (the preflight) where sending alone could do harm. Configured origins
get credentials. Where any origin is allowed, none does.
Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from jan.gateway.security import Headers
from jan.trust import ANY_ORIGIN

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED = b"X-Request-ID, request-id, Mcp-Session-Id, Retry-After, WWW-Authenticate"
"""Headers of answers that pages may read, beside those that they always may."""
MAX_AGE_S = 7200
"""How long a browser need not ask again. Chrome heeds no more than this."""
MAX_ORIGIN_BYTES = 512
"""Longer than any origin that a browser sends: a host name has at most 253."""
MAX_REMEMBERED = 1024
"""Origins of which is remembered whether they are allowed."""

# Any header may be sent. SDKs, tracers and MCP clients have too many to name, and what a page may
# send is of no use to it without being allowed to send at all.
_HEADER_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
MAX_HEADER_NAMES_BYTES = 4096

_LABELS = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class Origins:
    """The allowed origins, as `jan.trust.origins` writes them."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._is_any = ANY_ORIGIN in allowed
        named = [] if self._is_any else [origin.encode() for origin in allowed]
        self._exact = frozenset(origin for origin in named if b"*" not in origin)
        self._below = [origin.split(b"*") for origin in named if b"*" in origin]
        self._remembered = lru_cache(MAX_REMEMBERED)(self._decide)
        self.always = self._always(bool(allowed))
        """Headers of every answer, whoever asks."""

    def _always(self, has_any: bool) -> Headers:
        if self._is_any:
            return ((b"access-control-allow-origin", b"*"), _EXPOSES)
        # Of use even where there is no origin: the answer to another request would differ.
        return (_VARIES,) if has_any else ()

    def headers(self, origin: bytes) -> Headers:
        """Give the headers of answers to pages of this origin. None if it is not allowed."""
        return self._remembered(origin) if len(origin) <= MAX_ORIGIN_BYTES else ()

    def allows(self, origin: bytes) -> bool:
        """Tell whether pages of this origin may read answers, with credentials or without."""
        return self._is_any or bool(self.headers(origin))

    def trusts(self, origin: bytes) -> bool:
        """Tell whether pages of this origin may act for who is signed in: it has credentials."""
        return not self._is_any and bool(self.headers(origin))

    def preflight(self, origin: bytes, headers: Headers) -> Headers | None:
        """Answer a browser that asks what a page may send, if that is what it asks.

        These headers are beside all those that other answers have.
        """
        if not self._is_any and not self.headers(origin):
            return None
        asked = dict(headers)
        if b"access-control-request-method" not in asked:
            return None
        names = asked.get(b"access-control-request-headers", b"")
        answer = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
        ]
        if len(names) <= MAX_HEADER_NAMES_BYTES and _HEADER_NAMES.fullmatch(names):
            answer.append((b"access-control-allow-headers", names))
        return answer

    def _decide(self, origin: bytes) -> Headers:
        if not self._allows(origin):
            return ()
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            _EXPOSES,
        )

    def _allows(self, origin: bytes) -> bool:
        return origin in self._exact or any(
            origin.startswith(start)
            and origin.endswith(end)
            and _LABELS.fullmatch(origin[len(start) : -len(end)])
            for start, end in self._below
        )


_EXPOSES = (b"access-control-expose-headers", EXPOSED)
_VARIES = (b"vary", b"Origin")
