"""What holds of events however a model server cuts its answer up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jan.errors import UpstreamError
from jan.inference import chat
from jan.inference.chunks import Chunk
from tests.responses import rules
from tests.responses.chats import as_chunk, as_events, call, delta, end, machine

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
FIELDS = {"words": "content", "thoughts": "reasoning", "refusal": "refusal"}

Piece = tuple[str, str]
"""What it is of, and the text. A call is named `0`, `1` or `2`."""

PIECES = st.lists(st.tuples(st.sampled_from([*FIELDS, "0", "1", "2"]), TEXT), max_size=30)


def written(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Write each piece as a chunk."""
    said: list[dict[str, Any]] = []
    begun: set[str] = set()
    for kind, text in pieces:
        if kind in FIELDS:
            said.append(delta(**{FIELDS[kind]: text}))
        else:
            said.append(call(int(kind), text, f"tool_{kind}" if kind not in begun else None))
            begun.add(kind)
    return said


def texts(output: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Put together what an answer holds, by the names of pieces."""
    found: dict[str, str] = {}
    for item in output:
        if item["type"] == "function_call":
            kind = item["name"].removeprefix("tool_")
            found[kind] = item["arguments"]
            continue
        for part in item["content"]:
            kind = {"output_text": "words", "reasoning_text": "thoughts"}.get(part["type"])
            text = part.get("text", part.get("refusal"))
            found[kind or "refusal"] = found.get(kind or "refusal", "") + text
    return found


def expected(pieces: Sequence[Piece]) -> dict[str, str]:
    """Put together what the pieces say."""
    found: dict[str, str] = {}
    for kind, text in pieces:
        found[kind] = found.get(kind, "") + text
    return found


@settings(max_examples=150, deadline=None)
@given(PIECES)
def test_the_answer_is_the_sum_of_the_pieces_in_whatever_order_they_come(
    pieces: list[Piece],
) -> None:
    made = machine()
    events = made.begin()
    for chunk in [*written(pieces), end()]:
        events += made.feed(as_chunk(chunk))
    events += made.finish()

    answer = rules.check(rules.parsed(b"".join(events)))
    assert texts(answer["output"]) == expected(pieces)


@settings(max_examples=100, deadline=None)
@given(PIECES, st.sampled_from(["fail", "cut"]))
def test_a_stream_that_ends_anywhere_is_whole_in_itself(pieces: list[Piece], how: str) -> None:
    made = machine()
    events = made.begin()
    for chunk in written(pieces):
        events += made.feed(as_chunk(chunk))
    events += made.cut() if how == "cut" else made.fail(UpstreamError("It died."))

    answer = rules.check(rules.parsed(b"".join(events)))
    assert texts(answer["output"]) == expected(pieces)


class Pieces:
    """Stands for a connection from which bytes come as they like."""

    def __init__(self, data: bytes, cuts: Sequence[int]) -> None:
        ends = [*sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
        starts = [0, *ends[:-1]]
        self._left = [data[start:end] for start, end in zip(starts, ends, strict=True)]

    async def read(self) -> bytes:
        """Give some more."""
        return self._left.pop(0) if self._left else b""


async def chunks_of(connection: Any) -> list[Chunk]:
    """Read a stream to its end."""
    return [chunk async for batch in chat._read(connection) for chunk in batch]


@settings(max_examples=150, deadline=None)
@given(PIECES, st.lists(st.integers(min_value=0), max_size=40), st.booleans())
def test_bytes_may_be_cut_anywhere_even_within_a_character(
    pieces: list[Piece], cuts: list[int], crlf: bool
) -> None:
    data = b"".join(as_events(*written(pieces), end()))
    if crlf:
        data = data.replace(b"\n", b"\r\n")
    made = machine()
    events = made.begin()
    for chunk in asyncio.run(chunks_of(Pieces(data, cuts))):
        events += made.feed(chunk)
    events += made.finish()

    answer = rules.check(rules.parsed(b"".join(events)))
    assert texts(answer["output"]) == expected(pieces)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\\ud83d", b"\\ude00x"])
def test_what_is_no_text_does_not_stop_a_stream(data: bytes) -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a%bb"}}]}\n\n' % data
    stream += b"".join(as_events(end()))
    made = machine()
    for chunk in asyncio.run(chunks_of(Pieces(stream, []))):
        made.feed(chunk)
    events = made.finish()

    text = rules.parsed(events[-1])[0]["response"]["output"][0]["content"][0]["text"]
    assert (text[0], text[-1]) == ("a", "b")
    assert text.encode()
