"""What signing in needs of the process around it: secrets, providers, what the settings say."""

from dataclasses import dataclass
from typing import Literal, Self

from jan.auth.codes import Codes
from jan.auth.oidc import Oidc
from jan.auth.passwords import Passwords
from jan.auth.sessions import Sessions
from jan.auth.tokens import AccessTokens
from jan.issuers import OidcProvider
from jan.keyring import Keyring
from jan.settings import Settings

Registration = Literal["invited", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One per process; close `oidc` at its end."""

    sessions: Sessions
    passwords: Passwords
    codes: Codes
    oidc: Oidc
    providers: dict[str, OidcProvider]
    registration: Registration
    """Who may come in of whom nobody here knows."""
    has_guests: bool
    url: str
    """Where people reach this Jan."""

    @classmethod
    def configured(
        cls, settings: Settings, secrets: Keyring, *, passwords: Passwords | None = None
    ) -> Self:
        """Make those that the settings want."""
        secret, previous = secrets.jwt_secret, secrets.jwt_previous_secrets
        providers = settings.sign_in_providers
        return cls(
            sessions=Sessions(AccessTokens(secret, previous), secret),
            passwords=passwords or Passwords(),
            codes=Codes(secrets.api_key_secret),
            oidc=Oidc(providers, secret=secret, previous_secrets=previous),
            providers=providers,
            registration=settings.registration,
            has_guests=settings.guest_login,
            url=settings.url,
        )
