"""Cutting streams into events."""

import pytest

from jan import sse


@pytest.mark.parametrize(
    ("received", "events", "rest"),
    [
        (b"", b"", b""),
        (b"data: a", b"", b"data: a"),
        (b"data: a\n", b"", b"data: a\n"),
        (b"data: a\n\n", b"data: a\n\n", b""),
        (b"data: a\r\n\r\n", b"data: a\r\n\r\n", b""),
        (b"data: a\n\ndata: b\n", b"data: a\n\n", b"data: b\n"),
        (b"data: a\r\n\r\ndata: b\r\n", b"data: a\r\n\r\n", b"data: b\r\n"),
        (b": c\n\ndata: a\n\nx", b": c\n\ndata: a\n\n", b"x"),
    ],
)
def test_only_complete_events_are_cut_off(received: bytes, events: bytes, rest: bytes) -> None:
    assert sse.split(received) == (events, rest)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_each_event_keeps_the_blank_line_that_ends_it(newline: bytes) -> None:
    events = [b"event: x%bdata: a%b%b" % (newline, newline, newline), b"data: b" + newline * 2]

    assert sse.each(b"".join(events)) == events


def test_an_event_may_have_a_name() -> None:
    assert sse.event(b"{}", b"error") == b"event: error\ndata: {}\n\n"
    assert sse.event(b"{}") == b"data: {}\n\n"
