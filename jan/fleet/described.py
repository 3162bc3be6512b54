"""What is said of models and their other names, as it is on the wire."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.errors import InvalidRequest
from jan.inference.registry import Capability

MAX_PRICE = 10**12
"""Micro-dollars for a million tokens: a dollar a token, so that no sum of a request overflows."""
MAX_CONTEXT = 2**31 - 1
MAX_FALLBACKS = 16
MAX_NAME_LENGTH = 128


class ModelUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is said anew. What is left out stays; null takes back what was said."""

    owned_by: str | UnsetType | None = UNSET
    capabilities: list[Capability] | UnsetType | None = UNSET
    context_length: int | UnsetType | None = UNSET
    fallbacks: list[str] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    prompt_price: int | UnsetType | None = UNSET
    """Micro-dollars for a million tokens, as the other two."""
    cached_price: int | UnsetType | None = UNSET
    completion_price: int | UnsetType | None = UNSET


class ModelObject(msgspec.Struct, kw_only=True):
    """A model that somebody serves, or of which something is said."""

    id: str
    object: Literal["registry.model"] = "registry.model"
    owned_by: str | None
    capabilities: Sequence[str] | None
    context_length: int | None
    fallbacks: Sequence[str]
    enabled: bool
    prompt_price: int | None
    cached_price: int | None
    completion_price: int | None
    providers: Sequence[str]
    """Those that list it, as far as they were asked."""


class AliasCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Another name for a model."""

    alias: str
    model: str


class AliasObject(msgspec.Struct, kw_only=True):
    """Another name, and what it stands for."""

    id: str
    object: Literal["model.alias"] = "model.alias"
    model: str
    created_at: int


def price(said: int | None, *, param: str) -> int | None:
    """Take a price. Raises InvalidRequest."""
    if said is not None and not 0 <= said <= MAX_PRICE:
        raise InvalidRequest(f"`{param}` is 0 to {MAX_PRICE} micro-dollars.", param=param)
    return said


def context_length(said: int | None) -> int | None:
    """Take a number of tokens. Raises InvalidRequest."""
    if said is not None and not 1 <= said <= MAX_CONTEXT:
        raise InvalidRequest("`context_length` is at least 1.", param="context_length")
    return said
