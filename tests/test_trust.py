"""What an operator may trust, and what is refused as more than they meant."""

import pytest

from jan import trust


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ("https://app.example.com", ("https://app.example.com",)),
        ("HTTPS://App.Example.com/", ("https://app.example.com",)),
        ("https://app.example.com:443", ("https://app.example.com",)),
        ("http://app.example.com:80", ("http://app.example.com",)),
        ("https://app.example.com:80", ("https://app.example.com:80",)),
        ("https://*.example.com", ("https://*.example.com",)),
        ("http://*.example.com:8080", ("http://*.example.com:8080",)),
        ("http://*.localhost:3000", ("http://*.localhost:3000",)),
        ("https://*.internal", ("https://*.internal",)),
        ("https://192.168.0.7:8443", ("https://192.168.0.7:8443",)),
        ("http://[0:0::1]:3000", ("http://[::1]:3000",)),
        ("tauri://localhost", ("tauri://localhost",)),
        ("chrome-extension://mhfjdkadgo", ("chrome-extension://mhfjdkadgo",)),
        ("https://xn--bcher-kva.example", ("https://xn--bcher-kva.example",)),
        ("*", ("*",)),
        # Jan Server's ways.
        ("jan.ai", ("https://jan.ai",)),
        ("jan.ai:8443", ("https://jan.ai:8443",)),
        ("localhost:3000", ("http://localhost:3000",)),
        ("127.0.0.1:3000", ("http://127.0.0.1:3000",)),
        ("*.jan.ai", ("https://*.jan.ai",)),
        ("*jan.ai", ("https://jan.ai", "https://*.jan.ai")),
        ("*localhost:3000", ("http://localhost:3000", "http://*.localhost:3000")),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(entry: str, read: tuple[str, ...]) -> None:
    assert trust.origins([entry]) == read
    assert trust.origins(read) == read


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", "is no origin"),
        ("null", "is no origin"),
        ("a b", "is no origin"),
        ("https://", "is no origin"),
        ("file:///", "is no origin"),
        ("https://example.com/path", "is no origin"),
        ("https://example.com?x", "is no origin"),
        ("https://me@example.com", "is no origin"),
        ("*://example.com", "is no origin"),
        ("https://example.com:0", "port"),
        ("https://example.com:99999", "port"),
        ("https://example..com", "valid host"),
        ("https://example.com.", "valid host"),
        ("https://-example.com", "valid host"),
        ("https://1.2.3", "IP address"),
        ("https://1.2.3.999", "IP address"),
        ("https://[::1::]", "IP address"),
        ("https://bücher.example", "xn--"),
        ("https://*", "before a whole name"),
        ("**", "before a whole name"),
        ("https://*.*.example.com", "before a whole name"),
        ("https://app-*.example.com", "before a whole name"),
        ("https://app.*.com", "before a whole name"),
        ("*-preview.example.com", "before a whole name"),
        ("https://*example.com", "a dot must follow"),
        ("https://*.com", "everybody"),
        ("*ai", "everybody"),
        ("https://*.1.2.3.4", "below an IP address"),
        ("https://*.[::1]", "below an IP address"),
        ("chrome-extension://*.abc", "only http and https"),
    ],
)
def test_what_is_no_origin_or_trusts_too_much_is_refused(entry: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        trust.origins([entry])

    assert f"`{entry}`" in str(refusal.value)


def test_any_origin_is_not_mixed_with_those_that_get_credentials() -> None:
    with pytest.raises(ValueError, match="without credentials, and stands alone"):
        trust.origins(["*", "https://app.example.com"])


def test_an_origin_that_is_named_twice_is_kept_once() -> None:
    assert trust.origins(["https://a.example", "a.example"]) == ("https://a.example",)


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
