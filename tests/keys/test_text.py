"""The text of a key: junk is known as junk without asking anybody."""

from collections.abc import Callable

import pytest

from jan.keys import text


def test_a_new_key_is_well_formed_and_like_no_other() -> None:
    keys = {text.new() for _ in range(1000)}

    assert len(keys) == 1000
    assert all(text.is_well_formed(key) and len(key) == text.LENGTH for key in keys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: key[:-1],
        lambda key: key + "x",
        lambda key: key[:10] + ("a" if key[10] != "a" else "b") + key[11:],
        lambda key: key.upper(),
        lambda key: "sk-proj" + key[7:],
        lambda key: key[:-1] + "\udc80",
        lambda _: "",
        lambda _: "x" * 100_000,
    ],
)
def test_a_damaged_key_is_not(damage: Callable[[str], str]) -> None:
    assert not text.is_well_formed(damage(text.new()))


def test_what_is_stored_depends_on_the_key_and_the_secret() -> None:
    key = text.new()

    assert text.digest(key, "a") == text.digest(key, "a")
    assert len({text.digest(key, "a"), text.digest(key, "b"), text.digest(text.new(), "a")}) == 3
