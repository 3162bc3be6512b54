"""Addresses of Valkey and Redis: customary forms are read, and what is none is told in words."""

from typing import Any

import pytest

from jan import redis_address, settings, values
from jan.errors import Misconfigured
from jan.redis_address import RedisAddress, Tls, read


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("redis://cache", {"hosts": (("cache", 6379),)}),
        ("valkey://cache:7000/", {"hosts": (("cache", 7000),)}),
        ("redis://cache/2", {"hosts": (("cache", 6379),), "database": 2}),
        ("redis://cache?db=2", {"hosts": (("cache", 6379),), "database": 2}),
        ("redis://[::1]:7000", {"hosts": (("::1", 7000),)}),
        (
            "redis://jan:p%40ss%2Fword@cache",
            {"hosts": (("cache", 6379),), "username": "jan", "password": "p@ss/word"},
        ),
        ("redis://:secret@cache", {"hosts": (("cache", 6379),), "password": "secret"}),
        ("rediss://cache", {"hosts": (("cache", 6379),), "tls": Tls()}),
        (
            "valkeys://cache?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            {
                "hosts": (("cache", 6379),),
                "tls": Tls("/etc/ca.pem", certificate_file="/c.pem", key_file="/k.pem"),
            },
        ),
        (
            "rediss://cache?ssl_check_hostname=False",
            {"hosts": (("cache", 6379),), "tls": Tls(checks_host=False)},
        ),
        (
            "rediss://cache?ssl_cert_reqs=none",
            {"hosts": (("cache", 6379),), "tls": Tls(is_verified=False, checks_host=False)},
        ),
        ("cache:7000", {"hosts": (("cache", 7000),)}),
        ("one:1, two:2", {"hosts": (("one", 1), ("two", 2)), "is_cluster": True}),
        (
            "redis://:a,b@one:1,redis://:a,b@two:2/0",
            {"hosts": (("one", 1), ("two", 2)), "is_cluster": True, "password": "a,b"},
        ),
        ("redis+cluster://one", {"hosts": (("one", 6379),), "is_cluster": True}),
        (
            "rediss+cluster://:secret@one:1,[::1]:2/0",
            {
                "hosts": (("one", 1), ("::1", 2)),
                "is_cluster": True,
                "tls": Tls(),
                "password": "secret",
            },
        ),
        (
            "unix:///run/valkey.sock?db=1&username=jan&password=secret",
            {
                "path": "/run/valkey.sock",
                "database": 1,
                "username": "jan",
                "password": "secret",
            },
        ),
        ("unix://:secret@/run/valkey.sock", {"path": "/run/valkey.sock", "password": "secret"}),
    ],
)
def test_customary_forms_are_read(text: str, read_as: dict[str, Any]) -> None:
    assert read(text) == RedisAddress(**read_as)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cache 1", "such as redis://"),
        ("http://cache", "valkeys"),
        ("redis://", "such as redis://"),
        ("redis://cache:0", "such as redis://"),
        ("redis://cache:70000", "such as redis://"),
        ("redis://[cache", "such as redis://"),
        ("redis://:hunter2/x@cache", "such as redis://"),
        ("redis://:hunter2?x@cache", "such as redis://"),
        ("redis://:hunter2?x=y@cache", "none of db, username, password"),
        ("redis://:hunter2#x@cache", "%23"),
        ("redis://cache/jan", "number of a database"),
        ("redis://one,two/1", "number 0 only"),
        ("redis://:hunter2@one,redis://two", "differ in more"),
        ("redis://one,rediss://two", "differ in more"),
        ("unix:///run/x,unix:///run/y", "differ in more"),
        ("redis+cluster://one,", "such as redis://"),
        ("redis+cluster://one/1", "number 0 only"),
        ("redis://cache?ssl_ca_certs=/etc/ca.pem", "none of db, username, password"),
        ("rediss://cache?ssl_cert_reqs=optional", "one of required, none"),
        ("rediss://cache?ssl_keyfile=/k.pem", "ssl_certfile"),
        ("unix://cache/run/valkey.sock", "unix:///path"),
        ("unix://", "unix:///path"),
    ],
)
def test_what_is_none_is_refused_in_words_that_quote_nothing(text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as refusal:
        settings.load({"redis_url": text}, environ={})

    assert "hunter2" not in str(refusal.value)
    assert refusal.value.message.startswith("`redis_url` (flag): ")


def test_jan_servers_name_is_known_and_the_password_is_not_shown() -> None:
    loaded = settings.load(environ={"REDIS_URL": "rediss://jan:hunter2@cache:7000/1"})

    assert loaded.settings.redis == read("rediss://jan:hunter2@cache:7000/1")
    assert values.shown(loaded.settings.redis_url) == "rediss://jan:***@cache:7000/1"
    assert "hunter2" not in repr(loaded) + repr(loaded.settings.redis)


@pytest.mark.parametrize("url", ["redis://jan@cache", "redis://jan:other@cache"])
def test_the_password_may_be_said_apart(url: str) -> None:
    address = settings.load(
        environ={"REDIS_URL": url, "REDIS_PASSWORD": "p@ss/word"}
    ).settings.redis

    assert address is not None
    assert (address.username, address.password) == ("jan", "p@ss/word")


def test_without_an_address_there_is_none() -> None:
    assert settings.load(environ={"REDIS_PASSWORD": "somebody-else's"}).settings.redis is None


@pytest.mark.parametrize("text", ["redis://cache", "unix:///run/x", "redis+cluster://a:1,[::1]"])
def test_a_place_is_told_without_the_password(text: str) -> None:
    place = redis_address.read(text.replace("://", "://:secret@", 1)).place

    assert place in {"cache:6379", "/run/x", "a:1,[::1]:6379"}
