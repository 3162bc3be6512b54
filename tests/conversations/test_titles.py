"""Titles: from the first words, in one line, cut where a reader sees no character cut."""

import pytest

from jan.conversations import titles
from jan.conversations.items import Item
from jan.errors import InvalidRequest

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1eb\U0001f1f7"
THUMB = "\U0001f44d\U0001f3fd"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


def said(*texts: str, role: str = "user") -> Item:
    """Write a message."""
    content = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "role": role, "content": content}


def of(text: str) -> str | None:
    """Make the title of a conversation that begins so."""
    return titles.of([said(text)])


def test_the_first_message_of_the_users_with_text_gives_it() -> None:
    picture = {"type": "input_image", "image_url": "data:,"}

    assert titles.of([]) is None
    assert titles.of([said("Be brief.", role="system"), {"type": "reasoning"}]) is None
    assert titles.of([{"type": "message", "role": "user", "content": [picture]}]) is None
    assert titles.of([said(" \n"), said("", "One"), said("Two")]) == "One"
    assert titles.of([{"type": "message", "role": "user", "content": "plain"}]) == "plain"


def test_it_is_one_line() -> None:
    assert of("  a\t\r\n b\u00a0\u2028c\x07 ") == "a b c"


def test_what_fits_is_whole() -> None:
    assert of("x" * 50) == "x" * 50
    assert of("x" * 51) == "x" * 49 + "…"


@pytest.mark.parametrize("length", range(30, 60))
@pytest.mark.parametrize(
    "character",
    ["é", "e\u0301", "नि", "\u1112\u1161\u11ab", FAMILY, FLAG, THUMB, SCOTLAND, "❤\ufe0f", "漢"],
)
def test_no_character_is_cut(character: str, length: int) -> None:
    text = "x" * length + character * 40

    title = of(text)

    assert title
    assert len(title) <= titles.DERIVED_LENGTH
    kept = title.removesuffix(titles.CUT)
    assert kept.lstrip("x") == character * kept.count(character)


def test_marks_without_an_end_are_cut_all_the_same() -> None:
    title = of("e" + "\u0301" * 10_000)

    assert title
    assert len(title) == titles.DERIVED_LENGTH


def test_a_long_text_costs_no_more_than_its_beginning() -> None:
    assert of("word " * 1_000_000) == "word " * 9 + "word" + "…"


def test_a_title_that_is_given_is_trimmed_and_a_blank_one_is_none() -> None:
    assert titles.checked(f"  {FAMILY} a ") == f"{FAMILY} a"
    assert titles.checked("x" * 200) == "x" * 200
    assert [titles.checked(blank) for blank in (None, "", " \n")] == [None, None, None]


@pytest.mark.parametrize("wrong", ["x" * 201, "a\nb", "a\x00b"])
def test_a_title_that_does_not_fit_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        titles.checked(wrong)

    assert refused.value.param == "title"
