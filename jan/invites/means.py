"""What invites need of the process around them: secrets, mail, and where links lead."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from jan.auth.passwords import Passwords
from jan.invites.codes import Codes
from jan.keyring import Keyring
from jan.mail.outbox import Outbox
from jan.settings import Settings

PAGE = "/invite"
"""Jan's own page on which invites are accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One per process."""

    codes: Codes
    outbox: Outbox
    passwords: Passwords
    page_url: str
    """Where invites are accepted."""

    @classmethod
    def configured(
        cls, settings: Settings, secrets: Keyring, *, passwords: Passwords | None = None
    ) -> Self:
        """Make those that the settings want."""
        return cls(
            codes=Codes(secrets.api_key_secret),
            outbox=Outbox.configured(settings, secrets),
            passwords=passwords or Passwords(),
            page_url=settings.invite_redirect_url or settings.url + PAGE,
        )

    def link(self, code: str) -> str:
        """Make the link that is sent, or shown. What the page's address asks for already stays."""
        parts = urlsplit(self.page_url)
        query = f"{parts.query}&code={code}" if parts.query else f"code={code}"
        return parts._replace(query=query).geturl()
