"""Bodies of what is to be kept: what can't be is refused, by its place and without harm."""

import json

import msgspec
import pytest

from jan.conversations import body as bodies
from jan.errors import InvalidJSON, InvalidRequest, JanError


class Anything(msgspec.Struct):
    """A body that may hold anything."""

    a: object = None


def refused(body: bytes) -> JanError:
    """Give the error that a body is refused with."""
    with pytest.raises(JanError) as caught:
        bodies.read(body, Anything)
    return caught.value


def nested(depth: int) -> bytes:
    """Write something as deep."""
    return b'{"a": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"a": {"b": ["c", {"d": "\0"}]}}, "a.b[1].d"),
        ({"a": {"b": ["c", {"\0": 1}]}}, "a.b[1].\0"),
        ({"a": ["c", "\ud800"]}, "a[1]"),
        ({"\udfff": 1}, "?"),
        ("\ud800", "the body"),
    ],
)
def test_what_is_no_text_or_can_not_be_stored_is_named(value: object, param: str) -> None:
    assert refused(json.dumps(value).encode()).param == param


def test_what_only_looks_like_it_passes() -> None:
    value = {"a": "\\u0000 \\ud800 \U0001f600"}

    assert bodies.read(json.dumps(value).encode(), Anything).a == value["a"]


def test_what_is_nested_deeply_is_refused_while_there_is_room_to_tell() -> None:
    """What was taken in has to be read again, by code that stands deeper than the route."""

    def reread(body: bytes, levels: int) -> object:
        return reread(body, levels - 1) if levels else msgspec.json.decode(body)

    accepted = [depth for depth in (10, 300, 500, 600, 800, 900, 5000) if _passes(nested(depth))]

    assert accepted[:2] == [10, 300]
    assert accepted[-1] < 800
    assert reread(nested(accepted[-1]), 300)
    assert isinstance(refused(nested(900)), InvalidJSON)
    assert "nested too deeply" in refused(nested(5000)).message


def _passes(body: bytes) -> bool:
    try:
        bodies.read(body, Anything)
    except InvalidJSON:
        return False
    return True


def test_a_refusal_is_as_quick_and_short_wherever_its_place_is() -> None:
    """The place is not written for each of the texts that are looked at: that would be 10 GB."""
    body = json.dumps({"k" * 100_000: ["x"] * 100_000 + ["\0"]}).encode()

    error = refused(body)

    assert error.param == "k" * bodies.MAX_PLACE_LENGTH
    assert isinstance(error, InvalidRequest)
