"""OpenID providers that people may sign in with, as settings write them.

One is its issuer's address and what it knows Jan by; everything else it tells by discovery.
"""

import ipaddress
import json
import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationInfo,
)

GOOGLE = "google"
"""The provider that has settings of its own, by name."""
GOOGLE_ISSUER = "https://accounts.google.com"

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]+")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VISIBLE = re.compile(r"[\x20-\x7e]+")
"""What client credentials consist of (RFC 6749, appendices A.1 and A.2)."""


def is_protected(url: str) -> bool:
    """Whether nobody on the way can read or change what is said there: https, or this machine."""
    parts = _parts(url)
    if parts is None or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def from_json(value: object) -> object:
    """Read a table that the environment has as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        # Nothing of it is repeated: there are secrets in it.
        raise ValueError('must be JSON, such as {"corp": {"issuer": ..., ...}}') from None


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_good and _VISIBLE.fullmatch(url) and " " not in url else None


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _issuer(value: str) -> str:
    parts = _parts(value)
    if parts is None or not is_protected(value) or parts.query or parts.fragment:
        raise ValueError(
            "must be an address such as https://login.example.com, as the provider itself writes "
            "it; http only on this machine"
        )
    return value


def _redirect_url(value: str | None) -> str | None:
    if value is not None and ((parts := _parts(value)) is None or parts.fragment):
        raise ValueError("must be an address such as https://jan.example.com/callback")
    return value


def _client_id(value: str | None) -> str | None:
    if value is not None and not _VISIBLE.fullmatch(value):
        raise ValueError("must be printable ASCII")
    return value


def _client_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        _client_id(value.get_secret_value())
    return value


def _domains(value: tuple[str, ...]) -> tuple[str, ...]:
    domains = tuple(domain.lower().removeprefix("@") for domain in value)
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"`{domain}` is no domain: write example.com")
    return domains


ClientId = Annotated[str, AfterValidator(_client_id)]
ClientSecret = Annotated[SecretStr, AfterValidator(_client_secret)]
RedirectUrl = Annotated[str, AfterValidator(_redirect_url)]
Domains = Annotated[tuple[str, ...], AfterValidator(_domains)]


class OidcProvider(BaseModel):
    """How one provider knows Jan, and whom of it Jan lets in."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    issuer: Annotated[str, AfterValidator(_issuer)]
    """Address of the provider, exactly as its discovery document writes it."""
    client_id: ClientId
    """What the provider calls this Jan."""
    client_secret: ClientSecret
    """Proves to the provider that it is this Jan."""
    redirect_url: RedirectUrl
    """Where the provider sends people back to, as it is registered there."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What is asked for."""
    allowed_domains: Domains = ()
    """Only people of these domains may sign in. At Google the account's organization counts, not
    how its e-mail address looks."""


def google(
    client_id: str, client_secret: SecretStr, redirect_url: str, allowed_domains: tuple[str, ...]
) -> OidcProvider:
    """Make Google's from the settings that it has of its own."""
    return OidcProvider(
        issuer=GOOGLE_ISSUER,
        client_id=client_id,
        client_secret=client_secret,
        redirect_url=redirect_url,
        allowed_domains=allowed_domains,
    )


def google_is_whole(value: str | None, info: ValidationInfo) -> str | None:
    """Check Google's last setting: all three are there, or none.

    Raises:
        ValueError: some are missing.
    """
    others = ("oauth2_google_client_id", "oauth2_google_client_secret")
    if len({part is None for part in (value, *(info.data.get(name) for name in others))}) > 1:
        raise ValueError(f"signing in with Google needs this, `{others[0]}` and `{others[1]}`")
    return value


def well_named(providers: dict[str, OidcProvider], info: ValidationInfo) -> dict[str, OidcProvider]:
    """Check that names can be part of an address, and that none stands for two.

    Raises:
        ValueError: one does not.
    """
    for name in providers:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"`{name}` is no name: a-z, 0-9 and dashes, 32 at most, a letter first"
            )
    if GOOGLE in providers and info.data.get("oauth2_google_client_id") is not None:
        raise ValueError("Google is configured here and by `oauth2_google_client_id`: choose one")
    return providers


Providers = Annotated[
    dict[str, OidcProvider], BeforeValidator(from_json), AfterValidator(well_named)
]


def shown(providers: dict[str, OidcProvider]) -> str:
    """All of it for a person's eyes, without secrets."""
    return _text(providers, "***")


def in_clear(providers: dict[str, OidcProvider]) -> str:
    """All of it as the environment has it, secrets included."""
    return _text(providers, None)


def _text(providers: dict[str, OidcProvider], secret: str | None) -> str:
    tables: dict[str, dict[str, Any]] = {}
    for name, provider in providers.items():
        clear = provider.client_secret.get_secret_value()
        tables[name] = provider.model_dump(mode="json")
        tables[name]["client_secret"] = clear if secret is None else secret
    return json.dumps(tables)
