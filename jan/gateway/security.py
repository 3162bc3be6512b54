"""What browsers are told on every answer, so that none of them can be put to other uses.

Nearly all answers are JSON that only programs read: they load nothing, are framed by nobody and
kept nowhere. A page, or whatever may be kept, says so itself in its own headers, and these stay.
"""

from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

DEFAULTS: Headers = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
"""For an answer that does not say otherwise."""
ALWAYS: Headers = ((b"x-content-type-options", b"nosniff"), *DEFAULTS)
HTTPS_ONLY = (b"strict-transport-security", b"max-age=15552000")
"""Half a year, for this host alone. Heeded only where it comes over https (RFC 6797)."""

_MAY_DIFFER = frozenset(name for name, _ in DEFAULTS)


def completed(said: Headers, added: Headers) -> list[tuple[bytes, bytes]]:
    """Add headers to those of an answer, except defaults that it has set itself."""
    for name, _ in said:
        if name in _MAY_DIFFER:
            own = {name for name, _ in said} & _MAY_DIFFER
            return [*said, *(pair for pair in added if pair[0] not in own)]
    return [*said, *added]
