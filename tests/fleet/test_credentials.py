"""API keys of providers: read where they were given for, and nowhere else."""

import pytest

from jan.fleet.credentials import ProviderKeys, origin_of
from jan.seal import Broken

KEYS = ProviderKeys("s" * 32)
URL = "https://api.example/v2"


def test_a_key_is_read_for_the_origins_it_was_given_for() -> None:
    sealed = KEYS.close("prov_1", [URL, "http://other:8000"], "sk-secret")

    assert "sk-secret" not in sealed
    assert KEYS.read("prov_1", sealed) == "sk-secret"
    for url in (URL, "https://API.example/another", "http://other:8000"):
        assert KEYS.read_for("prov_1", sealed, url) == "sk-secret"


@pytest.mark.parametrize(
    "url", ["http://api.example/v2", "https://api.example:444", "https://evil", "unix:///x", ""]
)
def test_it_is_not_read_for_another_url(url: str) -> None:
    sealed = KEYS.close("prov_1", [URL], "sk-secret")

    with pytest.raises(Broken):
        KEYS.read_for("prov_1", sealed, url)


def test_it_is_not_read_for_another_provider_or_with_another_secret() -> None:
    sealed = KEYS.close("prov_1", [URL], "sk-secret")

    with pytest.raises(Broken):
        KEYS.read("prov_2", sealed)
    with pytest.raises(Broken):
        ProviderKeys("t" * 32).read("prov_1", sealed)
    with pytest.raises(Broken):
        KEYS.read("prov_1", "garbage")


def test_a_user_in_the_url_is_no_part_of_whom_it_leads_to() -> None:
    assert origin_of("https://me:word@Api.Example/x") == origin_of("https://api.example")
