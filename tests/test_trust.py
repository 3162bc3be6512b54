"""What an operator may trust, and what is refused as more than they meant."""

import pytest

from jan import trust


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
    ],
)
def test_a_network_may_be_one_address(entry: str, read: str) -> None:
    assert str(trust.network(entry)) == read


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", "is no IP address"),
        ("proxy.example.com", "is no IP address"),
        ("10.0.0.0/33", "is no IP address"),
        ("10.0.0.1:8080", "is no IP address"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("0.0.0.0/0", "let everybody"),
        ("::/0", "let everybody"),
        ("::ffff:0:0/96", "let everybody"),
    ],
)
def test_what_is_no_network_or_all_of_them_is_refused(entry: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trust.network(entry)
