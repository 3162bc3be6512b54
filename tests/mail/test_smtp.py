"""Mail servers as they are: encrypted or not, refusing for now or for good, away, or silent."""

import socket
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

from jan.errors import Misconfigured, Unavailable
from jan.mail import message
from jan.mail.message import Words
from jan.mail.smtp import MailRefused, Smtp
from jan.settings import Settings
from tests.mail.conftest import mail_settings
from tests.mail.servers import HOST, PASSWORD, USER, Certificate, mail_server
from tests.ports import free_port

SIGNED_IN = {"smtp_username": USER, "smtp_password": PASSWORD}
BOB = "bob@example.com"


async def _send(smtp: Smtp) -> None:
    words = Words("Hello", "Grüße", "<p>Grüße</p>")
    await smtp.send(
        message.compose(words, sender=smtp.sender, recipient=BOB, message_id="<1@example.com>")
    )


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_arrives_encrypted_from_a_user_who_signed_in(
    home: Path, certificate: Certificate, security: Literal["starttls", "tls"]
) -> None:
    async with mail_server(certificate, security=security, has_users=True) as server:
        settings = mail_settings(home, server.port, smtp_security=security, **SIGNED_IN)
        await _send(Smtp(settings, tls=certificate.trusting))

    (letter,) = server.letters
    assert letter["Subject"] == "Hello"
    assert server.users == [USER]
    part = letter.get_body(("plain",))
    assert part
    assert part.get_content().strip() == "Grüße"
    assert security == "tls" or server.were_encrypted == [True]


async def test_a_relay_without_encryption_is_used_where_that_is_said(home: Path) -> None:
    async with mail_server() as server:
        await _send(Smtp(mail_settings(home, server.port, smtp_security="none")))

    assert len(server.letters) == 1


@pytest.mark.parametrize("more", [{}, SIGNED_IN])
async def test_nothing_is_said_in_clear_to_a_server_that_does_not_encrypt(
    home: Path, more: dict[str, Any]
) -> None:
    async with mail_server(has_users=bool(more)) as server:
        with pytest.raises(Unavailable, match="STARTTLS"):
            await _send(Smtp(mail_settings(home, server.port, **more)))

    assert server.users == []
    assert server.tries == 0


async def test_a_certificate_that_nobody_signed_is_not_trusted(
    home: Path, certificate: Certificate
) -> None:
    async with mail_server(certificate, security="starttls") as server:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await _send(Smtp(mail_settings(home, server.port)))

    assert server.tries == 0


@pytest.mark.parametrize(
    ("port", "security", "is_tls", "is_starttls"),
    [
        (465, "auto", True, False),
        (587, "auto", False, True),
        (25, "auto", False, True),
        (465, "starttls", False, True),
        (2525, "tls", True, False),
    ],
)
def test_how_to_encrypt_follows_from_the_port_unless_it_is_said(
    home: Path, port: int, security: str, is_tls: bool, is_starttls: bool
) -> None:
    client = Smtp(mail_settings(home, port, smtp_security=security))._client()

    assert (client.use_tls, client._start_tls_on_connect) == (is_tls, is_starttls)


async def test_a_wrong_password_is_trouble_that_the_operator_can_mend(
    home: Path, certificate: Certificate
) -> None:
    wrong = {"smtp_username": USER, "smtp_password": "my-wrong-password"}
    async with mail_server(certificate, security="starttls", has_users=True) as server:
        smtp = Smtp(mail_settings(home, server.port, **wrong), tls=certificate.trusting)
        with pytest.raises(Unavailable, match="535") as trouble:
            await _send(smtp)

    assert "my-wrong-password" not in trouble.value.message


@pytest.mark.parametrize(
    ("on_recipient", "on_data"),
    [
        ([f"550 5.1.1 <{BOB}>: no such user"], []),
        (["553 not here"], []),
        ([], ["554 this looks like spam"]),
    ],
)
async def test_a_refusal_for_good_is_told_apart_and_does_not_tell_the_recipient(
    home: Path, on_recipient: list[str], on_data: list[str]
) -> None:
    async with mail_server() as server:
        server.on_recipient, server.on_data = on_recipient, on_data
        with pytest.raises(MailRefused) as refusal:
            await _send(Smtp(mail_settings(home, server.port, smtp_security="none")))

    assert "55" in str(refusal.value)
    assert BOB not in str(refusal.value)


@pytest.mark.parametrize(
    ("on_recipient", "on_data"),
    [
        (["451 4.7.1 greylisted, try again later"], []),
        (["421 too many connections"], []),
        ([], ["452 disk full"]),
    ],
)
async def test_a_refusal_for_now_is_trouble_that_passes(
    home: Path, on_recipient: list[str], on_data: list[str]
) -> None:
    async with mail_server() as server:
        server.on_recipient, server.on_data = on_recipient, on_data
        smtp = Smtp(mail_settings(home, server.port, smtp_security="none"))
        with pytest.raises(Unavailable, match=r"4[25]"):
            await _send(smtp)
        await _send(smtp)

    assert len(server.letters) == 1


async def test_a_server_that_is_away_is_trouble_that_passes(home: Path) -> None:
    smtp = Smtp(mail_settings(home, free_port(), smtp_security="none"))

    with pytest.raises(Unavailable, match="can't be used"):
        await _send(smtp)
    with pytest.raises(Unavailable):
        await smtp.probe()


async def test_a_server_that_falls_silent_is_waited_for_no_longer_than_it_may(home: Path) -> None:
    with socket.create_server((HOST, 0)) as silent:
        settings = mail_settings(home, silent.getsockname()[1], smtp_security="none")
        with anyio.fail_after(5), pytest.raises(Unavailable, match="timed out"):
            await _send(Smtp(settings, answer_timeout_s=0.1))
    async with mail_server() as server:
        server.may_answer.clear()
        settings = mail_settings(home, server.port, smtp_security="none")
        with anyio.fail_after(5), pytest.raises(Unavailable, match="timed out"):
            await _send(Smtp(settings, answer_timeout_s=0.1))


async def test_a_server_that_drips_does_not_hold_a_job_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jan.mail.smtp.SEND_TIMEOUT_S", 0.2)
    async with mail_server() as server:
        server.may_answer.clear()
        settings = mail_settings(home, server.port, smtp_security="none")
        with anyio.fail_after(5), pytest.raises(Unavailable, match="timed out"):
            await _send(Smtp(settings))


async def test_a_probe_goes_all_the_way_but_sends_nothing(
    home: Path, certificate: Certificate
) -> None:
    async with mail_server(certificate, security="starttls", has_users=True) as server:
        settings = mail_settings(home, server.port, **SIGNED_IN)
        await Smtp(settings, tls=certificate.trusting).probe()

    assert server.users == [USER]
    assert server.tries == 0


def test_without_a_server_there_is_nothing_to_send_by(home: Path) -> None:
    with pytest.raises(Misconfigured):
        Smtp(Settings(home=home))
