"""What is sealed can be read by us, and by nobody who has the database alone."""

import pytest

from jan.seal import Broken, Seal

SECRET = "s" * 32
PURPOSE = b"test"


def test_what_is_closed_is_opened_by_another_process_with_the_same_secret() -> None:
    sealed = Seal(SECRET, PURPOSE).close(b"my-private-code")

    assert "private" not in sealed
    assert Seal(SECRET, PURPOSE).open(sealed) == b"my-private-code"


@pytest.mark.parametrize("secret", [SECRET, "t" * 32])
def test_what_was_altered_or_closed_with_another_secret_is_not_opened(secret: str) -> None:
    sealed = Seal(SECRET, PURPOSE).close(b"my-private-code")
    if secret == SECRET:
        sealed = sealed[:-4] + "AAA="

    with pytest.raises(Broken):
        Seal(secret, PURPOSE).open(sealed)


def test_what_was_closed_for_another_purpose_is_not_opened() -> None:
    sealed = Seal(SECRET, PURPOSE).close(b"my-private-code")

    with pytest.raises(Broken):
        Seal(SECRET, b"another").open(sealed)
