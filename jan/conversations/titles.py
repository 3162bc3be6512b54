"""What a conversation is called: what it was given, or the beginning of what was said first.

A title is cut between characters as people see them, which are several of Unicode's where accents,
emoji, flags or Korean syllables are put together. The rules are the main ones of Unicode's.
Source: https://www.unicode.org/reports/tr29/#Grapheme_Cluster_Boundary_Rules
"""

import unicodedata
from collections.abc import Iterable

from jan.conversations.items import Item
from jan.errors import InvalidRequest

MAX_LENGTH = 200
"""In characters, as the database's column has it."""
DERIVED_LENGTH = 50
"""Of a title that is made from a message, with the mark of the cut."""
CUT = "…"

_ZWJ = "\u200d"
_MARKS = frozenset({"Mn", "Mc", "Me"})
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_REGIONS = range(0x1F1E6, 0x1F200)
_HANGUL_VOWELS_AND_FINALS = range(0x1160, 0x1200)


def checked(title: str | None) -> str | None:
    """Trim a title. A blank one is none.

    Raises:
        InvalidRequest: it is too long, or holds control characters.
    """
    trimmed = (title or "").strip()
    if len(trimmed) > MAX_LENGTH or any(_is_control(each) for each in trimmed):
        raise InvalidRequest(
            f"A title has {MAX_LENGTH} characters at most, none of them a control character.",
            param="title",
        )
    return trimmed or None


def of(said: Iterable[Item]) -> str | None:
    """Make a title from the first message of the user's that has text in it, if there is one."""
    for item in said:
        if item.get("type") == "message" and item.get("role") == "user":
            for text in _texts(item.get("content")):
                if title := _shortened(text):
                    return title
    return None


def _texts(content: object) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(text := part.get("text"), str):
                yield text


def _shortened(text: str) -> str:
    """Bring text into one line that is short enough. No more of it is read than can matter."""
    words = text.split(maxsplit=DERIVED_LENGTH)[:DERIVED_LENGTH]
    line = " ".join(word[: 2 * DERIVED_LENGTH] for word in words)
    line = "".join(each for each in line if not _is_control(each)).strip()
    if len(line) <= DERIVED_LENGTH:
        return line
    end = DERIVED_LENGTH - len(CUT)
    while end and not _is_boundary(line, end):
        end -= 1
    # Marks upon marks without an end are no character that anybody reads.
    return line[: end or DERIVED_LENGTH - len(CUT)].rstrip() + CUT


def _is_boundary(text: str, place: int) -> bool:
    """Tell whether a character, as people see them, begins at `place`, which is not 0."""
    before, after = text[place - 1], text[place]
    code = ord(after)
    if (
        unicodedata.category(after) in _MARKS
        or _ZWJ in {before, after}
        or code in _SKIN_TONES
        or code in _TAGS
        or code in _HANGUL_VOWELS_AND_FINALS
    ):
        return False
    if code in _REGIONS:  # two of them are a flag
        regions = 0
        while regions < place and ord(text[place - 1 - regions]) in _REGIONS:
            regions += 1
        return regions % 2 == 0
    return True


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"
