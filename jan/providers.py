"""Servers that have models, as `[[providers]]` in `jan.toml` has them: who they are, and where."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo

from jan import values

NAME = re.compile(r"[a-z][a-z0-9.-]{0,63}")
RESERVED = re.compile(r"configured|runner([.-].*)?")
"""Names of providers that Jan makes by itself."""
MAX_PROVIDERS = 256
MAX_PREFIX_LENGTH = 64
MAX_ENDPOINTS = 64
"""Of one provider."""
MAX_KEY_LENGTH = 4096


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("must be up to 64 small letters, digits, `-` and `.`, a letter first")
    if RESERVED.fullmatch(value):
        raise ValueError(f"`{value}` is a name that Jan gives by itself")
    return value


def _prefix(value: str) -> str:
    if not value.isprintable() or " " in value:
        raise ValueError("must be printable, without spaces")
    return value


def _address(value: str) -> str:
    found = values.http_url(value)
    assert found is not None
    return found


def _readable(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is None:
        return None
    if info.data.get("api_key") is not None:
        raise ValueError("says what `api_key` says, too: choose one")
    path = value.expanduser().absolute()
    _read(path)
    return path


def _read(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"can't read {path}: {reason}") from None
    _fits_a_header(key)
    return key


def _fits_a_header(key: str) -> None:
    is_printable = key.isascii() and key.isprintable() and " " not in key
    if not (0 < len(key) <= MAX_KEY_LENGTH and is_printable):
        raise ValueError("holds no key that can be sent in a header")


def _key(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        _fits_a_header(value.get_secret_value())
    return value


class Provider(BaseModel):
    """A server that has models, or several that have the same."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    name: Annotated[str, AfterValidator(_name)]
    """What it is called here."""
    urls: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...],
        Field(min_length=1, max_length=MAX_ENDPOINTS),
    ]
    """Where it answers. Requests go to the address that has the least to do."""
    kind: Literal["openai", "jan", "runner"] = "openai"
    """`openai`: anything that speaks OpenAI's protocol. `jan`: another Jan. `runner`: engines that
    `jan runner` serves."""
    api_key: Annotated[SecretStr | None, AfterValidator(_key)] = None
    """Bearer token that it wants."""
    api_key_file: Annotated[Path | None, AfterValidator(_readable)] = None
    """File with that token, which is read at each start."""
    prefix: Annotated[str, AfterValidator(_prefix), Field(max_length=MAX_PREFIX_LENGTH)] = ""
    """Put before the names of its models."""
    models: tuple[str, ...] | None = None
    """Those of its models that are used, by its names. Not said: all."""
    max_running: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Most requests that each address gets at once. Not said: no bound."""

    def read_key(self) -> str | None:
        """Tell its token, wherever it is. Raises ValueError: the file can't be read any more."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        return _read(self.api_key_file) if self.api_key_file is not None else None


def named_once(value: tuple[Provider, ...]) -> tuple[Provider, ...]:
    """Refuse two of one name."""
    names = [provider.name for provider in value]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names `{min(doubled)}` twice; `urls` may have several addresses")
    return value
