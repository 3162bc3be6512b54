"""Where links lead."""

from typing import Any

import pytest

from jan.invites.codes import Codes
from tests.gateways import inviting


@pytest.mark.parametrize(
    ("said", "link"),
    [
        ({}, "http://127.0.0.1:8080/invite?code=abc"),
        ({"host": "::", "port": 80}, "http://[::1]:80/invite?code=abc"),
        ({"public_url": "https://Jan.example.com/"}, "https://jan.example.com/invite?code=abc"),
        ({"invite_redirect_url": "https://x.y/join"}, "https://x.y/join?code=abc"),
        ({"invite_redirect_url": "https://x.y/?a=b"}, "https://x.y/?a=b&code=abc"),
    ],
)
def test_a_link_leads_to_the_page_that_the_settings_name(said: dict[str, Any], link: str) -> None:
    assert inviting(**said).link("abc") == link


def test_codes_differ_and_say_nothing_when_stored() -> None:
    codes = Codes("s" * 32)
    made = {codes.new() for _ in range(100)}

    assert len(made) == 100
    assert all(len(code) == 43 for code in made)
    assert len({codes.digest(code) for code in made}) == 100
