"""Where the database is: the one that Jan runs for itself, or the one that a setting names.

Server and clients ask the same function for the socket's folder, so they always meet.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from jan.errors import Misconfigured
from jan.keyring import Keyring
from jan.settings import Settings

DATABASE = "jan"
OWNER = "jan"
"""Owns the database and its tables, and may do nothing to the server. Migrations run as it."""
ROLE = "jan_app"
"""What everything else runs as: it uses the tables, and can't get round their row security."""
SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
"""PostgreSQL names it by the port, though nothing listens there."""
MAX_SOCKET_PATH_BYTES = 107
"""Source: https://man7.org/linux/man-pages/man7/unix.7.html (sun_path, less its NUL)."""
SCHEMES = ("postgresql", "postgres")
WEIGHT = "weight"
"""How many turns a replica gets, in its address: `?weight=3`."""
MAX_WEIGHT = 1000
LIBPQ_ONLY = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "sslcompression",
        "tcp_user_timeout",
    }
)
"""Hosted databases put these in their URLs; our driver would send them on as server settings."""


class ReadAddress(NamedTuple):
    """Where a read replica is, and how many turns it gets beside one of weight 1."""

    dsn: str
    weight: int = 1


_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)")


def resolve(settings: Settings, keyring: Keyring) -> str:
    """Name the primary for the role that requests run as, as a URL with the password in it.

    Raises:
        Misconfigured: `database_url` is none.
    """
    return configured(settings) or own(settings.home, ROLE, DATABASE, keyring.database_password)


def resolve_direct(settings: Settings) -> str | None:
    """Name the primary past a pooler, as `resolve` does. None: that leads through none."""
    if settings.database_direct_url is None:
        return None
    return _url("database_direct_url", settings.database_direct_url)


def resolve_owner(settings: Settings, keyring: Keyring) -> str:
    """Name the primary for its owner, past any pooler, as `resolve` does."""
    if settings.database_migration_url is not None:
        return _url("database_migration_url", settings.database_migration_url)
    return (
        resolve_direct(settings)
        or configured(settings)
        or own(settings.home, OWNER, DATABASE, keyring.database_password)
    )


def configured(settings: Settings) -> str | None:
    """Name the primary that a setting names, as `resolve` does. None: Jan runs its own."""
    if settings.database_url is None:
        return None
    return _url("database_url", settings.database_url)


def resolve_reads(settings: Settings) -> list[ReadAddress]:
    """Name the read replicas, as `resolve` does, with their weights.

    Raises:
        Misconfigured: as `resolve`; or a weight is none.
    """
    return [_weighed(_url("database_read_urls", url)) for url in settings.database_read_urls]


def own(home: Path, role: str, database: str, password: str) -> str:
    """Name Jan's own PostgreSQL, through its socket."""
    host = quote(str(socket_folder(home)), safe="")
    return f"postgresql://{role}:{quote(password, safe='')}@/{database}?host={host}"


def socket_folder(home: Path) -> Path:
    """Decide where PostgreSQL's socket is: below `home`, or elsewhere if that path is too long.

    The answer depends on `home` alone, so that a command in another session finds the server.
    """
    folder = home / "run" / "postgres"
    if len(bytes(folder / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
        return folder
    digest = hashlib.sha256(bytes(home)).hexdigest()
    return Path("/tmp") / f"jan-{digest[:16]}"  # noqa: S108 - its owner is checked before use


def _url(setting: str, secret: SecretStr) -> str:
    """Read `postgresql://...` or libpq's `key=value ...` and return a URL that our driver takes."""
    text = secret.get_secret_value().strip()
    if "://" not in text:
        return _from_pairs(setting, text)
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in SCHEMES and ("," in parts.netloc or parts.port != 0)
    except ValueError:  # a port or an IPv6 address that is none
        raise _refused(setting) from None
    if not is_sound:
        raise _refused(setting)
    pairs = [pair for pair in parse_qsl(parts.query) if pair[0] not in LIBPQ_ONLY]
    return urlunsplit(parts._replace(query=urlencode(pairs)))


def _from_pairs(setting: str, text: str) -> str:
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _PAIR.match(text, position)
        if not found:
            raise _refused(setting)
        name, quoted, plain = found.groups()
        value = quoted if quoted is not None else plain
        pairs[name] = re.sub(r"\\(.)", r"\1", value)
        position = found.end()
    if not pairs:
        raise _refused(setting)
    query = {name: value for name, value in pairs.items() if name not in LIBPQ_ONLY}
    # Without a path: an empty one would say "no database", and win over `dbname`.
    return f"postgresql://?{urlencode(query)}"


def _weighed(url: str) -> ReadAddress:
    """Take `weight` out of an address: neither our driver nor the server knows it."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    rest = urlunsplit(
        parts._replace(query=urlencode([pair for pair in pairs if pair[0] != WEIGHT]))
    )
    weight = dict(pairs).get(WEIGHT, "1")
    if not (weight.isascii() and weight.isdecimal() and 1 <= int(weight) <= MAX_WEIGHT):
        raise Misconfigured(
            f"A weight in `database_read_urls` is no number from 1 to {MAX_WEIGHT}."
        )
    return ReadAddress(rest, int(weight))


def _refused(setting: str) -> Misconfigured:
    # The value is not shown: it may hold the password.
    return Misconfigured(
        f"`{setting}` is no PostgreSQL address.",
        hint="It reads `postgresql://user:password@host:5432/name`.",
    )
