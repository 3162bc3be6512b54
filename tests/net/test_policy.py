"""What a URL is refused for before anybody is asked where it leads, and what is allowed."""

from ipaddress import ip_address

import pytest

from jan import settings
from jan.destinations import destination
from jan.errors import Misconfigured, UrlRefused
from jan.net.policy import Policy


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "may be fetched"),
        ("FILE:///etc/passwd", "may be fetched"),
        ("ftp://example.com/", "may be fetched"),
        ("gopher://example.com/", "may be fetched"),
        ("data:text/plain,x", "may be fetched"),
        ("javascript:alert(1)", "may be fetched"),
        ("//example.com/", "may be fetched"),
        ("example.com", "may be fetched"),
        ("", "may be fetched"),
        ("http://user@example.com/", "password"),
        ("http://:secret@example.com/", "password"),
        ("http://example.com\\@127.0.0.1/", "password"),
        ("http:///path", "no valid URL"),
        ("http://[fe80::1%25eth0]/", "no valid URL"),
        ("http://[fe80::1%eth0]/", "no valid URL"),
        ("http://%31%32%37.0.0.1/", "no valid URL"),
        ("http://example.com%00.evil.com/", "no valid URL"),
        ("http://exa mple.com/", "no valid URL"),
        ("http://example.com\n/", "no valid URL"),
        ("http://①②⑦.⓪.⓪.①/", "no valid URL"),
        ("http://\uff11\uff12\uff17.0.0.1/", "no valid URL"),
        ("http://ⓛocalhost/", "no valid URL"),
        ("http://0177.0.0.1/", "no valid URL"),
        ("http://x" + "y" * 300 + ".com/", "no valid URL"),
        ("http://" + "x" * 70_000, "no valid URL"),
        ("http://[::1/", "no valid URL"),
        ("http://example.com:80:80/", "no valid URL"),
        ("http://example.com:0/", "port 0"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:6379/", "port 6379"),
    ],
)
def test_a_url_that_is_refused_as_it_stands(url: str, why: str) -> None:
    with pytest.raises(UrlRefused, match=why):
        Policy().read(url)


@pytest.mark.parametrize(
    ("url", "as_used"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTPS://EXAMPLE.COM./a?b=c#d", "https://example.com/a?b=c"),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
    ],
)
def test_a_url_as_it_is_used(url: str, as_used: str) -> None:
    assert str(Policy().read(url)) == as_used


def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    found = [ip_address("8.8.8.8"), ip_address("10.0.0.1"), ip_address("1.1.1.1")]

    with pytest.raises(UrlRefused) as refused:
        Policy().check("example.com", 443, found)

    assert "10.0.0.1" not in refused.value.message


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "is_allowed"),
    [
        ("10.1.0.0/16", "wiki", 80, "10.1.2.3", True),
        ("10.1.0.0/16", "wiki", 80, "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "wiki", 80, "10.2.2.3", False),
        ("10.1.0.0/16", "wiki", 8080, "10.1.2.3", False),
        ("10.1.0.0/16", "8.8.8.8", 80, "8.8.8.8", True),
        ("wiki.internal", "wiki.internal", 443, "192.168.1.1", True),
        ("wiki.internal", "WIKI.internal.", 443, "192.168.1.1", True),
        ("wiki.internal", "evilwiki.internal", 443, "192.168.1.1", False),
        ("wiki.internal", "a.wiki.internal", 443, "192.168.1.1", False),
        ("wiki.internal:8080", "wiki.internal", 8080, "192.168.1.1", True),
        ("wiki.internal:8080", "wiki.internal", 443, "192.168.1.1", False),
        ("wiki.internal:8080", "example.com", 8080, "8.8.8.8", False),
        ("*.corp.example", "a.b.corp.example", 80, "10.0.0.1", True),
        ("*.corp.example", "corp.example", 80, "10.0.0.1", False),
        ("*.corp.example", "xcorp.example", 80, "10.0.0.1", False),
        ("tools.example.com:8931", "tools.example.com", 8931, "8.8.8.8", True),
        ("[fd00::5]:9000", "fd00::5", 9000, "fd00::5", True),
        ("fd00::/8", "x", 80, "fd12::1", True),
    ],
)
def test_what_the_operator_allows(
    entry: str, host: str, port: int, address: str, is_allowed: bool
) -> None:
    policy = Policy(allowed=(destination(entry),))

    if is_allowed:
        policy.check(host, port, [ip_address(address)])
    else:
        with pytest.raises(UrlRefused):
            policy.check(host, port, [ip_address(address)])


def test_settings_make_the_policy() -> None:
    said = {
        "JAN_OUTBOUND_ALLOW": "wiki.internal:8080, 10.0.0.0/8",
        "JAN_OUTBOUND_SCHEMES": "https",
        "JAN_OUTBOUND_PORTS": "443, 8443",
    }

    policy = Policy.configured(settings.load({}, environ=said).settings)

    assert policy.schemes == {"https"}
    assert policy.ports == {443, 8443}
    assert [str(entry) for entry in policy.allowed] == ["wiki.internal:8080", "10.0.0.0/8"]


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "http://wiki",
        "10.0.0.1/8",
        "wiki:0",
        "wiki:70000",
        "a b",
        "1.2.3",
        "[::1",
        "*.10.0.0.1/8",
    ],
)
def test_an_entry_that_is_none_is_told_at_start(entry: str) -> None:
    with pytest.raises(Misconfigured, match="outbound_allow"):
        settings.load({}, environ={"JAN_OUTBOUND_ALLOW": entry})
