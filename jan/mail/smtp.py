"""The mail server: one message at a time, encrypted, and never longer than it may take.

A server that will never take a message says so once; all other trouble passes, or is the
operator's to mend, and is tried again.
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from email.utils import parseaddr

import aiosmtplib
import anyio

from jan.errors import Misconfigured, Unavailable
from jan.jobs.queue import Hopeless
from jan.settings import Settings

TLS_PORT = 465
"""Where servers expect encryption from the first byte (RFC 8314)."""
ANSWER_TIMEOUT_S = 20.0
"""For one step. Servers hold clients up on purpose for some seconds, to tell machines apart."""
SEND_TIMEOUT_S = 60.0
"""For all steps together."""
QUIT_TIMEOUT_S = 1.0
"""For a farewell. The message is theirs by then."""
PERMANENT = 500
"""Codes from here on mean "do not try again". Source: RFC 5321, section 4.2.1."""
MAX_REASON_LENGTH = 200


class MailRefused(Hopeless):
    """The server will not take this message, however often it is asked."""


class Smtp:
    """The mail server that the settings name."""

    def __init__(
        self,
        settings: Settings,
        *,
        tls: ssl.SSLContext | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        if settings.smtp_host is None or settings.smtp_sender_email is None:
            raise Misconfigured("No mail server is configured.", hint="Set JAN_SMTP_HOST.")
        self.sender = settings.smtp_sender_email
        self.name = f"{settings.smtp_host}:{settings.smtp_port}"
        self._settings = settings
        self._tls = tls
        self._answer_timeout_s = answer_timeout_s

    async def send(self, message: EmailMessage) -> None:
        """Hand a message over.

        Raises:
            MailRefused: the server refuses this recipient or this message.
            Unavailable: anything else. It may go at another time.
        """
        recipient = message["To"].addresses[0].addr_spec
        async with self._connected() as client:
            try:
                await client.send_message(message)
            except aiosmtplib.SMTPRecipientsRefused as error:
                raise self._refusal("the recipient", error.recipients[0], recipient) from None
            except aiosmtplib.SMTPDataError as error:
                raise self._refusal("the message", error, recipient) from None
            except aiosmtplib.SMTPNotSupported:
                raise MailRefused("the mail server can't write such an address") from None

    async def probe(self) -> None:
        """Go as far as is possible without a message: connect, encrypt, sign in.

        Raises:
            Unavailable: it does not work.
        """
        async with self._connected() as client:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[aiosmtplib.SMTP]:
        client = self._client()
        try:
            with anyio.fail_after(SEND_TIMEOUT_S):
                await client.connect()
                yield client
        except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError and SSL's too
            raise Unavailable(
                f"The mail server {self.name} can't be used: {_reason(error)}."
            ) from None
        else:
            with suppress(aiosmtplib.SMTPException, OSError), anyio.move_on_after(QUIT_TIMEOUT_S):
                await client.quit()
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        is_tls_port = settings.smtp_port == TLS_PORT
        security = settings.smtp_security
        if security == "auto":
            security = "tls" if is_tls_port else "starttls"
        password = settings.smtp_password
        return aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            use_tls=security == "tls",
            start_tls=security == "starttls",  # True fails where the server does not offer it
            tls_context=self._tls,
            timeout=self._answer_timeout_s,
            # Its default asks DNS for this machine's name, which may take long.
            local_hostname=parseaddr(self.sender)[1].rpartition("@")[2],
        )

    def _refusal(
        self, what: str, error: aiosmtplib.SMTPResponseException, recipient: str
    ) -> Exception:
        """Whose address it is goes into no log: servers repeat it in their answers."""
        reason = _reason(error).replace(recipient, "...")
        if error.code >= PERMANENT:
            return MailRefused(f"the mail server refuses {what}: {reason}")
        return Unavailable(f"The mail server {self.name} does not take {what} now: {reason}.")


def _reason(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        words = f"{error.code} {error.message}"
    elif isinstance(error, TimeoutError):
        words = "timed out"
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    else:
        words = str(error) or type(error).__name__
    return " ".join(words.split())[:MAX_REASON_LENGTH].rstrip(".")
