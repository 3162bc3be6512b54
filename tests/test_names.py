"""Names: anything that can be read, and nothing that can't be seen."""

import pytest

from jan import names
from jan.errors import InvalidRequest


@pytest.mark.parametrize("name", ["x", "x" * 128, " x ", "日本語 🎉", "O'Neill; DROP TABLE x"])
def test_a_name_is_kept_without_the_space_around_it(name: str) -> None:
    assert names.checked(name) == name.strip()


@pytest.mark.parametrize("name", ["", " ", "x" * 129, "a\0b", "a\nb", "\u200b", "\u202e", "\ud800"])
def test_what_can_not_be_read_is_no_name(name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        names.checked(name)

    assert refusal.value.param == "name"
