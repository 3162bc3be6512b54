"""Providers, their endpoints, and what is said of models, as they are on the wire."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from jan.errors import InvalidRequest
from jan.inference.registry import Kind, State
from jan.providers import MAX_KEY_LENGTH, MAX_PREFIX_LENGTH, NAME, RESERVED

MAX_URL_LENGTH = 2048
MAX_NAMES = 500
MAX_MODEL_LENGTH = 256
MAX_WEIGHT = 100
MAX_INTEGER = 2**31 - 1


class ProviderCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new provider is to be."""

    name: str
    url: str
    """Of its first endpoint."""
    kind: Literal["openai", "jan"] = "openai"
    api_key: str | None = None
    """Kept sealed, and never told again."""
    prefix: str = ""
    """Put before the names of its models."""
    models: list[str] | None = None
    """Those of its models that are used, by its names. None: all."""
    enabled: bool = True
    weight: int = 1
    max_running: int | None = None


class ProviderUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a provider. What is left out stays."""

    name: str | UnsetType = UNSET
    kind: Literal["openai", "jan"] | UnsetType = UNSET
    api_key: str | UnsetType | None = UNSET
    """Null: none."""
    prefix: str | UnsetType = UNSET
    models: list[str] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Another address of a provider. Its API key is sent there, too."""

    url: str
    weight: int = 1
    max_running: int | None = None
    """Most requests at once, of all processes together. None: as many as there are."""
    enabled: bool = True


class EndpointUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about an endpoint."""

    weight: int | UnsetType = UNSET
    max_running: int | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointObject(msgspec.Struct, kw_only=True):
    """One address, and how it is."""

    id: str
    object: Literal["provider.endpoint"] = "provider.endpoint"
    url: str
    node: str | None
    weight: int
    max_running: int | None
    enabled: bool
    is_draining: bool
    state: State
    since: int
    last_error: str | None
    models: list[str]
    """By its own names."""
    checked_at: int | None
    latency_ms: float | None
    created_at: int


class ProviderObject(msgspec.Struct, kw_only=True):
    """Who serves models."""

    id: str
    object: Literal["provider"] = "provider"
    name: str
    kind: Kind
    managed_by: Literal["operator", "settings"]
    node: str | None
    has_api_key: bool
    prefix: str
    models: list[str] | None
    enabled: bool
    created_at: int
    updated_at: int
    endpoints: list[EndpointObject]


class Looked(msgspec.Struct, kw_only=True):
    """What an endpoint answered when it was asked just now."""

    endpoint_id: str
    url: str
    ok: bool
    error: str | None
    models: list[str]
    latency_ms: float


class Check(msgspec.Struct, kw_only=True):
    """What all endpoints of a provider answered."""

    provider_id: str
    data: list[Looked]
    object: Literal["provider.check"] = "provider.check"


def name(said: str) -> str:
    """Take a provider's name. Raises InvalidRequest."""
    if not NAME.fullmatch(said):
        raise InvalidRequest(
            "A provider's name is up to 64 small letters, digits, `-` and `.`, a letter first.",
            param="name",
        )
    if RESERVED.fullmatch(said):
        raise InvalidRequest(f"`{said}` is a name that Jan gives by itself.", param="name")
    return said


def url(said: str) -> str:
    """Take an address, without the `/v1` that OpenAI's clients end it in. Raises InvalidRequest."""
    wrong = "`url` is an address such as https://host:8000, without a query."
    if len(said) > MAX_URL_LENGTH:
        raise InvalidRequest("The URL is too long.", param="url")
    try:
        parts = urlsplit(said)
        port = parts.port
    except ValueError:
        raise InvalidRequest(wrong, param="url") from None
    if "@" in parts.netloc:
        raise InvalidRequest("A URL must hold no password: give `api_key`.", param="url")
    is_plain = said.isascii() and said.isprintable() and " " not in said
    is_address = parts.scheme in {"http", "https"} and parts.hostname and port != 0
    if not (is_plain and is_address) or parts.query or parts.fragment or "\\" in said:
        raise InvalidRequest(wrong, param="url")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def api_key(said: str | None) -> str | None:
    """Take a key that can stand in a header. Empty: none. Raises InvalidRequest."""
    said = (said or "").strip()
    if len(said) > MAX_KEY_LENGTH or not (said.isascii() and said.isprintable()) or " " in said:
        raise InvalidRequest("The API key can't be sent in a header.", param="api_key")
    return said or None


def prefix(said: str) -> str:
    """Take what is put before names. Raises InvalidRequest."""
    if len(said) > MAX_PREFIX_LENGTH or not said.isprintable() or " " in said:
        raise InvalidRequest("`prefix` is at most 64 printable characters.", param="prefix")
    return said


def model(said: str, *, param: str, length: int = MAX_MODEL_LENGTH) -> str:
    """Take a model's name. Raises InvalidRequest."""
    if not 0 < len(said) <= length or not said.isprintable() or said != said.strip():
        raise InvalidRequest(
            f"A model's name is printable text of {length} characters at most.", param=param
        )
    return said


def models(
    said: Iterable[str] | None, *, param: str, length: int = MAX_MODEL_LENGTH
) -> list[str] | None:
    """Take names of models, each once, in their order. None: all. Raises InvalidRequest."""
    if said is None:
        return None
    found = list(dict.fromkeys(model(each, param=param, length=length) for each in said))
    if len(found) > MAX_NAMES:
        raise InvalidRequest(f"`{param}` names {MAX_NAMES} models at most.", param=param)
    return found


def weight(said: int, *, param: str = "weight") -> int:
    """Take a share of the work. Raises InvalidRequest."""
    if not 1 <= said <= MAX_WEIGHT:
        raise InvalidRequest(f"`{param}` is 1 to {MAX_WEIGHT}.", param=param)
    return said


def max_running(said: int | None) -> int | None:
    """Take a bound of requests at once. Raises InvalidRequest."""
    if said is not None and not 1 <= said <= MAX_INTEGER:
        raise InvalidRequest("`max_running` is at least 1.", param="max_running")
    return said
