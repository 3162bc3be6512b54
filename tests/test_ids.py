"""Identifiers that clients see."""

import re

from jan import ids


def test_an_id_is_its_prefix_and_24_random_characters() -> None:
    made = [ids.new("key") for _ in range(1000)]

    assert all(re.fullmatch(r"key_[0-9a-z]{24}", one) for one in made)
    assert len(set(made)) == 1000
    for place in range(4, 28):  # of 36 characters, 1000 draws miss one in 10^12 cases
        assert {one[place] for one in made} == set(ids.ALPHABET)
