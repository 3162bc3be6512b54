"""Where a Valkey or Redis is, as URLs say it: `redis://` and its kin, with redis-py's parameters.

`redis` and `valkey` are the same word here. An `s` is TLS; `+cluster`, or several hosts, a cluster;
`unix` a socket. Jan Server writes a cluster as several URLs, and one server as `host:port`, too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 6379
MAX_PORT = 65535
HOST = re.compile(r"(?:([\w.-]+)|\[([\da-fA-F:.]+)\])(?::(\d{1,5}))?")

SCHEMES = {
    f"{word}{tls}{cluster}": (bool(tls), bool(cluster))
    for word, secured in (("redis", "rediss"), ("valkey", "valkeys"))
    for tls in ("", secured.removeprefix(word))
    for cluster in ("", "+cluster")
}
TLS_PARAMETERS = (
    *("ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname"),
    *("ssl_certfile", "ssl_keyfile"),
)
LOGIN_PARAMETERS = ("db", "username", "password")
WORDS = {
    "ssl_cert_reqs": {"required": True, "none": False},
    "ssl_check_hostname": {"true": True, "yes": True, "false": False, "no": False},
}

COMMA_BEFORE_URL = re.compile(r",\s*(?=[a-z+]+://)")
FORM = "must be an address such as redis://user:password@host:6379/0"


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is known, and how we are."""

    ca_file: str | None = None
    """Certificates that are believed, alone. None: those of the machine."""
    is_verified: bool = True
    checks_host: bool = True
    """Whether the certificate has to name the host."""
    certificate_file: str | None = None
    """Ours, if the server wants one."""
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What was read."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    """Of the socket, where there are no hosts."""
    is_cluster: bool = False
    tls: Tls | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.path or ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )


def read(text: str) -> RedisAddress:
    """Read an address.

    Raises:
        ValueError: it is none, or says what is not understood; in words that quote nothing of it.
    """
    first, *others = map(_one, COMMA_BEFORE_URL.split(text if "://" in text else f"redis://{text}"))
    for other in others:
        whole = (*first.hosts, *other.hosts)
        first = replace(first, hosts=whole, is_cluster=True)
        if replace(other, hosts=whole, is_cluster=True) != first or not other.hosts:
            raise ValueError("names several servers that differ in more than their hosts")
    if first.is_cluster and first.database:
        raise ValueError("names a database: a cluster has number 0 only")
    return first


def _one(text: str) -> RedisAddress:
    try:
        parts = urlsplit(text)
        said = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:
        raise ValueError(FORM) from None
    if parts.fragment:
        raise ValueError("has a `#`, which is written as %23")
    login, _, places = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    user = unquote(username) or said.get("username")
    secret = unquote(password) or said.get("password")
    if parts.scheme == "unix":
        _refuse_others(said, LOGIN_PARAMETERS)
        if places or not parts.path.strip("/"):
            raise ValueError("must name a socket as unix:///path/to/socket")
        database = _database(said.get("db", ""))
        path = unquote(parts.path)
        return RedisAddress(path=path, username=user, password=secret, database=database)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{FORM}, with one of {', '.join(SCHEMES)} or unix")
    is_secured, is_cluster = SCHEMES[parts.scheme]
    _refuse_others(said, LOGIN_PARAMETERS + (TLS_PARAMETERS if is_secured else ()))
    hosts = tuple(_host(place.strip()) for place in places.split(","))
    return RedisAddress(
        hosts=hosts,
        is_cluster=is_cluster or len(hosts) > 1,
        tls=_tls(said) if is_secured else None,
        username=user,
        password=secret,
        database=_database(said.get("db", parts.path.strip("/"))),
    )


def _host(place: str) -> tuple[str, int]:
    if (found := HOST.fullmatch(place)) is None:
        raise ValueError(FORM)
    name, number, port = *found.group(1, 2), int(found.group(3) or PORT)
    if not 0 < port <= MAX_PORT:
        raise ValueError(FORM)
    return name or number, port


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError("must end in the number of a database, such as /0, or in none")
    return int(text or 0)


def _tls(said: Mapping[str, str]) -> Tls:
    is_verified = _word(said, "ssl_cert_reqs")
    if "ssl_keyfile" in said and "ssl_certfile" not in said:
        raise ValueError("`ssl_keyfile` wants `ssl_certfile` too")
    return Tls(
        ca_file=said.get("ssl_ca_certs"),
        is_verified=is_verified,
        checks_host=_word(said, "ssl_check_hostname") and is_verified,
        certificate_file=said.get("ssl_certfile"),
        key_file=said.get("ssl_keyfile"),
    )


def _word(said: Mapping[str, str], name: str) -> bool:
    if name not in said:
        return True
    if (word := said[name].lower()) not in WORDS[name]:
        raise ValueError(f"`{name}` is one of {', '.join(WORDS[name])}")
    return WORDS[name][word]


def _refuse_others(said: Mapping[str, str], known: tuple[str, ...]) -> None:
    if not said.keys() <= set(known):
        raise ValueError(f"has a parameter that is none of {', '.join(known)}")
