"""A real mail server on a real socket, which does as the test says."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
USER, PASSWORD = "jan", "my-private-password"


@dataclass
class MailServer:
    """What came, and what is answered."""

    port: int
    letters: list[EmailMessage] = field(default_factory=list)
    tries: int = 0
    """Messages that somebody wanted to send, whatever became of them."""
    users: list[str] = field(default_factory=list)
    """Who signed in."""
    were_encrypted: list[bool] = field(default_factory=list)
    on_recipient: list[str] = field(default_factory=list)
    """Answers to give first, before the usual."""
    on_data: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: nothing is answered."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        self.tries += 1
        await self.may_answer.wait()
        if self.on_recipient:
            return self.on_recipient.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.on_data:
            return self.on_data.pop(0)
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=POLICY)
        assert isinstance(letter, EmailMessage)
        assert [str(letter["To"])] == envelope.rcpt_tos
        self.letters.append(letter)
        self.were_encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _server: Any, session: Any, *got: Any) -> AuthResult:
        """Know one user."""
        _envelope, _mechanism, data = got
        assert isinstance(data, LoginPassword)
        is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        if is_right:
            self.users.append(USER)
            session.auth_data = data
        # `handled`: aiosmtpd would wait for an answer that we do not give.
        return AuthResult(success=is_right, handled=False, auth_data=data)


@dataclass(frozen=True)
class Certificate:
    """A server's, which nobody but `trusting` trusts."""

    path: Path

    @property
    def serving(self) -> ssl.SSLContext:
        """The server's side."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path)
        return context

    @property
    def trusting(self) -> ssl.SSLContext:
        """A client's side."""
        return ssl.create_default_context(cafile=str(self.path))


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Make a certificate for this machine, or for hosts, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name) for name in names]
                or [x509.IPAddress(ipaddress.ip_address(HOST))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return Certificate(path)


@asynccontextmanager
async def mail_server(
    certificate: Certificate | None = None,
    *,
    security: Literal["starttls", "tls", "none"] = "none",
    has_users: bool = False,
    port: int = 0,
) -> AsyncGenerator[MailServer]:
    """Run one during the block, in the test's own loop."""
    tls = certificate.serving if certificate else None
    handler = MailServer(0)
    handler.may_answer.set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(
            handler,
            hostname="mail.test",
            loop=loop,
            tls_context=tls if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=handler.authenticate if has_users else None,
            auth_required=has_users and security == "starttls",  # it warns where that is in clear
            auth_require_tls=security == "starttls",
        ),
        HOST,
        port,
        ssl=tls if security == "tls" else None,
    )
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        handler.may_answer.set()
        server.close()
