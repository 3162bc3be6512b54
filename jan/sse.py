"""Server-sent events as bytes: where one ends, how one is written.

Events that pass through stay as they came.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: clients skip it, proxies see a living connection."""

DONE = b"data: [DONE]\n\n"
"""Ends OpenAI's chat and completion streams."""


def event(data: bytes, name: bytes | None = None) -> bytes:
    """Write one event. `data` is one line."""
    prefix = b"event: " + name + b"\n" if name else b""
    return prefix + b"data: " + data + b"\n\n"


def split(received: bytes) -> tuple[bytes, bytes]:
    """Cut what was received after its last complete event: the events, and the begun rest."""
    if received.endswith(b"\n\n"):
        return received, b""
    # Lines may end in \n or \r\n, so the blank line that ends an event is one of two.
    end = max(received.rfind(b"\n\n") + 2, received.rfind(b"\n\r\n") + 3)
    if end < 3:  # noqa: PLR2004 - found neither: rfind said -1, and -1 + 3 is 2
        return b"", received
    return received[:end], received[end:]


def each(events: bytes) -> list[bytes]:
    """Cut complete events apart, every one with the blank line that ends it."""
    blank = b"\r\n\r\n" if b"\n\r\n" in events else b"\n\n"
    return [part + blank for part in events.split(blank) if part]


def data(event: bytes) -> bytes:
    """Take the data out of an event that has one line of it. Empty for a comment."""
    start = event.find(b"data:")
    return event[start + 5 :].strip() if start >= 0 else b""
