"""Which database: every form that operators have, as the URL that asyncpg takes."""

from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from jan import keyring
from jan.db import dsn
from jan.errors import Misconfigured
from jan.settings import Settings


def _resolved(given: str, home: Path) -> str:
    settings = Settings(home=home, database_url=SecretStr(given))
    return dsn.resolve(settings, keyring.load(settings))


def test_a_url_is_taken_as_it_is(tmp_path: Path) -> None:
    given = "postgresql://me:p%2Fw@db:5433/jan?sslmode=require"

    assert _resolved(given, tmp_path) == given


def test_what_only_libpq_knows_is_left_out(tmp_path: Path) -> None:
    given = "postgres://me@db/jan?channel_binding=require&sslmode=require"

    assert _resolved(given, tmp_path) == "postgres://me@db/jan?sslmode=require"


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ("host=db user=me dbname=jan", {"host": "db", "user": "me", "dbname": "jan"}),
        ("host = db password='it\\'s a secret'", {"host": "db", "password": "it's a secret"}),
        ("host=db password=''", {"host": "db", "password": ""}),
        ("host=db connect_timeout=3", {"host": "db"}),
    ],
)
def test_key_value_pairs_become_a_url(tmp_path: Path, given: str, pairs: dict[str, str]) -> None:
    query = urlsplit(_resolved(given, tmp_path)).query

    assert dict(parse_qsl(query, keep_blank_values=True)) == pairs


@pytest.mark.parametrize(
    "given", ["db.example.com", "", "mysql://hunter2@db/jan", "host=db hunter2"]
)
def test_anything_else_is_refused_and_not_repeated(tmp_path: Path, given: str) -> None:
    with pytest.raises((Misconfigured, ValidationError)) as refusal:
        _resolved(given, tmp_path)

    assert "hunter2" not in str(refusal.value)


def test_the_own_servers_socket_path_fits_however_long_the_home_is() -> None:
    for length in (10, 90, 91, 300):
        url = dsn.own(Path("/" + "x" * length), "jan", "jan", "p/w")
        folder = parse_qs(urlsplit(url).query)["host"][0]
        assert len(f"{folder}/{dsn.SOCKET_NAME}") <= dsn.MAX_SOCKET_PATH_BYTES


def _read_from(home: Path, *given: str) -> list[dsn.ReadAddress]:
    read = tuple(SecretStr(url) for url in given)
    settings = Settings(
        home=home, database_url=SecretStr("postgresql://a/b"), database_read_urls=read
    )
    return dsn.resolve_reads(settings)


def test_a_replicas_weight_is_taken_out_of_its_address(tmp_path: Path) -> None:
    read = _read_from(
        tmp_path,
        "postgresql://me@one/jan?sslmode=require&weight=3",
        "postgresql://me:p%26weight=9@two/jan",
        "host=three weight=2",
    )

    assert read == [
        ("postgresql://me@one/jan?sslmode=require", 3),
        ("postgresql://me:p%26weight=9@two/jan", 1),
        ("postgresql:?host=three", 2),
    ]


@pytest.mark.parametrize("weight", ["0", "-1", "1.5", "many", "1001"])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, weight: str) -> None:
    with pytest.raises(Misconfigured, match="weight"):
        _read_from(tmp_path, f"postgresql://me@one/jan?weight={weight}")


def test_what_migrates_goes_past_the_pooler(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=SecretStr("postgresql://a/pooled"),
        database_direct_url=SecretStr("postgresql://a/direct"),
    )
    secrets = keyring.load(settings)

    assert dsn.resolve(settings, secrets) == "postgresql://a/pooled"
    assert dsn.resolve_owner(settings, secrets) == "postgresql://a/direct"
    named = settings.model_copy(
        update={"database_migration_url": SecretStr("postgresql://owner@a/direct")}
    )
    assert dsn.resolve_owner(named, secrets) == "postgresql://owner@a/direct"
