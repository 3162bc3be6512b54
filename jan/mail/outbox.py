"""Where mail is left: promised in the caller's transaction, sent by a job after it.

A mail server may be slow, or away for hours; nobody waits for it, and no transaction spans it.
"""

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from jan.jobs import queue
from jan.jobs.queue import Hopeless, Job, Retry
from jan.keyring import Keyring
from jan.mail import message
from jan.mail.smtp import SEND_TIMEOUT_S, Smtp
from jan.seal import Broken, Seal
from jan.settings import Settings

SEND = "mail.send"
PURPOSE = b"jan mail, waiting"
RETRY = Retry(attempts=14, first_delay_s=10, max_delay_s=3600)
"""About five hours: a mail server's bad night, and a greylist's first answer."""


class Mail(msgspec.Struct, frozen=True):
    """One mail as it waits in the database."""

    template: str
    """What kind of mail it is, for whoever looks at the queue."""
    recipient: str
    message_id: str
    sealed: str
    """Its words; see `jan.seal`. Written already: a later version has other templates."""


class Outbox:
    """Takes mail, if there is a server to send it by."""

    def __init__(self, smtp: Smtp | None, seal: Seal) -> None:
        self._smtp = smtp
        self._seal = seal

    @classmethod
    def configured(cls, settings: Settings, secrets: Keyring) -> Self:
        """Make the one that the settings want."""
        smtp = None if settings.smtp_host is None else Smtp(settings)
        return cls(smtp, Seal(secrets.api_key_secret, PURPOSE))

    @property
    def is_configured(self) -> bool:
        """Whether mail can be sent at all. Else show the link to who asked for it."""
        return self._smtp is not None

    async def post(
        self, connection: Any, template: str, recipient: str, context: Mapping[str, Any]
    ) -> None:
        """Promise a mail, as part of the connection's transaction.

        `template` is `folder/name` and `context` what fills it, see `jan.mail.message`. What the
        mail says is encrypted until it is sent; to whom it goes is not.

        Raises:
            InvalidRequest: the recipient is no e-mail address.
        """
        assert self._smtp is not None, "ask `is_configured` first"
        message.address(recipient)
        words = message.render(template, context)
        mail = Mail(
            template,
            recipient,
            message.new_message_id(self._smtp.sender),
            self._seal.close(msgspec.json.encode(words)),
        )
        await queue.enqueue(connection, SEND, mail)

    def jobs(self) -> list[Job]:
        """List the job that sends. Without a server there is none: what waits goes on waiting."""
        if self._smtp is None:
            return []
        return [Job(SEND, self._send, Mail, RETRY, timeout_s=SEND_TIMEOUT_S * 2)]

    async def _send(self, mail: Mail) -> None:
        assert self._smtp is not None
        try:
            words = msgspec.json.decode(self._seal.open(mail.sealed), type=message.Words)
        except Broken:
            raise Hopeless("it was sealed with another `api_key_secret`") from None
        await self._smtp.send(
            message.compose(
                words,
                sender=self._smtp.sender,
                recipient=mail.recipient,
                message_id=mail.message_id,
            )
        )
