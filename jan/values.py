"""What a setting's value may be, in words for who set it; and how one is written for all eyes."""

import json
import re
import shlex
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
)

from jan import destinations, issuers, redis_address, trust

MIN_SECRET_BYTES = 32
"""HMAC-SHA256 wants a key as long as its output (RFC 2104, section 3; RFC 7518, section 3.2)."""

T = TypeVar("T")

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
ADDRESS = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*")
"""Source: https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address"""

POSTGRES_ADDRESS = re.compile(r"\s*((?i:postgres(ql)?)://|\w+\s*=)")
"""How one begins: as a URL, or as libpq's `key=value` pairs."""
COMMA = re.compile(",")
COMMA_BEFORE_ADDRESS = re.compile(
    r",\s*(?=[A-Za-z][\w+.-]*://|(?:host|hostaddr|port|dbname|user|password)\s*=)"
)
"""Other commas are part of a password, or stand between the hosts of one address."""


def split(value: object, *, at: re.Pattern[str] = COMMA) -> object:
    """Read `a, b` as a list: the environment has no other way to say one."""
    if isinstance(value, str):
        return [part for text in at.split(value) if (part := text.strip(", "))]
    return value


def split_addresses(value: object) -> object:
    return split(value, at=COMMA_BEFORE_ADDRESS)


def _postgres_address(value: SecretStr) -> SecretStr:
    if not POSTGRES_ADDRESS.match(value.get_secret_value()):
        raise ValueError(
            "must be a PostgreSQL address such as postgresql://user:password@host:5432/name"
        )
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    redis_address.read(value.get_secret_value())
    return value


def beside_a_primary(value: T, info: ValidationInfo) -> T:
    if value and info.data.get("database_url", value) is None:
        raise ValueError(
            "needs `database_url`: Jan's own PostgreSQL has neither pooler nor replica"
        )
    return value


def words(value: str) -> str:
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"can't be split into words: {error}") from None
    return value


def _long_enough(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(
            f"must be at least {MIN_SECRET_BYTES} bytes long; `openssl rand -hex 32` makes one"
        )
    return value


def http_url(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("must be an address such as http://host:8000")
    if parts.username is not None:
        raise ValueError("must hold no password; the setting `inference_model_api_key` is for it")
    # The OpenAI habit of ending base URLs in /v1 is as common as not: take both.
    return value.rstrip("/").removesuffix("/v1")


def service_url(value: str | None) -> str | None:
    """Take the address of a service that speaks HTTP, with or without a path."""
    if value is None:
        return None
    parts = urlsplit(value)
    is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not is_address or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address such as http://host:8080, without user or password")
    return value.rstrip("/")


def absolute(path: Path | None) -> Path | None:
    """Make a path mean the same in every process, wherever it starts."""
    return path and path.expanduser().absolute()


def site(value: str | None) -> str | None:
    """Take an address at whose root Jan is."""
    if value is None:
        return None
    parts = urlsplit(value)
    is_site = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not is_site or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address without a path, such as https://jan.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    """Take e-mail addresses, without names."""
    for address in value:
        if not ADDRESS.fullmatch(address):
            raise ValueError(f"`{address}` is no e-mail address")
    return tuple(address.lower() for address in value)


def page(value: str | None) -> str | None:
    """Take the address of a web page, to which a parameter is added."""
    if value is None:
        return None
    parts = urlsplit(value)
    is_page = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not is_page or parts.fragment or "@" in parts.netloc or not value.isprintable():
        raise ValueError("must be an address such as https://app.example.com/invite")
    return value


def mailbox(value: str | None) -> str | None:
    """Take `jan@example.com` or `Jan <jan@example.com>`: one sender, on one line."""
    if value is not None:
        _, address = parseaddr(value)
        is_alone = value == address or value.endswith(f"<{address}>")
        if not (is_alone and value.isprintable() and ADDRESS.fullmatch(address)):
            raise ValueError("must be an address, `jan@example.com` or `Jan <jan@example.com>`")
    return value


Secret = Annotated[SecretStr | None, AfterValidator(_long_enough)]
TrustedNetwork = Annotated[trust.Network, BeforeValidator(trust.network)]
AllowedDestination = Annotated[destinations.Destination, BeforeValidator(destinations.destination)]
Port = Annotated[int, Field(ge=1, le=65535)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
Address = Annotated[SecretStr, AfterValidator(_postgres_address)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]


def shown(value: object) -> str:
    """A setting's value for a person's eyes: secrets and passwords are never in it."""
    if isinstance(value, SecretStr):
        return _redact(value.get_secret_value())
    if isinstance(value, tuple):
        return ", ".join(shown(getattr(part, "name", part)) for part in value)
    if isinstance(value, dict):
        return issuers.shown(value) if value else ""
    return "" if value is None else str(value)


def _redact(secret: str) -> str:
    try:
        parts = urlsplit(secret)
        if parts.scheme and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            user = f"{parts.username}:***@" if parts.username else ""
            return f"{parts.scheme}://{user}{parts.hostname}{port}{parts.path}"
    except ValueError:
        pass
    return "***"


def as_text(value: object) -> str:
    """Write a value as the environment has it, secrets included."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        if any(isinstance(part, BaseModel) for part in value):  # tables, which no comma separates
            return json.dumps([part.model_dump() for part in value], default=as_text)
        return ",".join(as_text(part) for part in value)
    if isinstance(value, dict):
        return issuers.in_clear(value)
    return str(value)
