"""Mail is promised within a transaction, waits unreadable, and is sent until it is taken."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jan import keyring
from jan.db.engine import Database
from jan.errors import InvalidRequest
from jan.jobs import queue
from jan.jobs.queue import Job, Retry
from jan.mail import outbox
from jan.mail.outbox import Outbox
from jan.seal import Seal
from jan.settings import Settings
from tests.jobs.workers import until, working
from tests.mail.conftest import mail_settings
from tests.mail.servers import MailServer, mail_server
from tests.ports import free_port

BOB = "bob@example.com"
INVITE = {
    "organization": "Acme",
    "inviter": "ada@example.com",
    "link": "https://jan.example.com/?code=my-private-code",
    "days": 7,
}


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    """A mail server that takes everything."""
    async with mail_server() as server:
        yield server


def _outbox(home: Path, port: int) -> Outbox:
    settings = mail_settings(home, port, smtp_security="none")
    return Outbox.configured(settings, keyring.load(settings))


def _eager(outbox: Outbox) -> list[Job]:
    """Its job, with pauses that a test can wait for."""
    retry = Retry(attempts=50, first_delay_s=0.05, max_delay_s=0.05)
    return [Job(job.name, job.handler, job.payload, retry) for job in outbox.jobs()]


async def _state(database: Database) -> queue.State:
    async with database.connection() as connection:
        return await queue.state(connection)


async def test_a_mail_is_sent_after_its_transaction(
    home: Path, database: Database, database_url: str, server: MailServer
) -> None:
    box = _outbox(home, server.port)
    async with working(database_url, *box.jobs()):
        with pytest.raises(ZeroDivisionError):
            async with database.transaction() as connection:
                await box.post(connection, "mail/invite", "eve@example.com", INVITE)
                raise ZeroDivisionError
        async with database.transaction() as connection:
            await box.post(connection, "mail/invite", BOB, INVITE)
        await until(lambda: server.letters)

    (letter,) = server.letters
    assert str(letter["To"]) == BOB
    assert "my-private-code" in letter.as_string()


async def test_a_code_is_readable_neither_in_the_database_nor_in_the_log(
    home: Path, database: Database, database_url: str, server: MailServer
) -> None:
    box = _outbox(home, server.port)
    server.on_recipient.append(f"550 <{BOB}>: no such user")
    async with database.transaction() as connection:
        await box.post(connection, "mail/invite", BOB, INVITE)
    with capture_logs() as lines:
        async with working(database_url, *box.jobs()):
            await until(lambda: "job given up" in [line["event"] for line in lines])

    kept = await database.pool.fetchval("SELECT convert_from(payload, 'UTF8') FROM pgqueuer")
    logged = await database.pool.fetch("SELECT traceback::text FROM pgqueuer_log")
    assert BOB in kept  # an operator has to see who got no mail
    assert '"mail/invite"' in kept
    assert "Acme" not in kept
    for text in (kept, str(logged), str(lines)):
        assert "my-private-code" not in text
    assert BOB not in str(lines)


async def test_a_refused_recipient_is_not_tried_again(
    home: Path, database: Database, database_url: str, server: MailServer
) -> None:
    box = _outbox(home, server.port)
    server.on_recipient.append("550 no such user")
    async with database.transaction() as connection:
        await box.post(connection, "mail/invite", BOB, INVITE)
    with capture_logs() as lines:
        async with working(database_url, *_eager(box)):
            await until(lambda: "job given up" in [line["event"] for line in lines])

    assert server.tries == 1
    assert (await _state(database)).failed == 1
    (line,) = [line for line in lines if line["event"] == "job given up"]
    assert line["reason"] == "the mail server refuses the recipient: 550 no such user"


async def test_a_mail_waits_for_a_server_that_is_away_or_busy(
    home: Path, database: Database, database_url: str
) -> None:
    port = free_port()
    box = _outbox(home, port)
    async with database.transaction() as connection:
        await box.post(connection, "mail/invite", BOB, INVITE)
    with capture_logs() as lines:
        async with working(database_url, *_eager(box)):
            await until(lambda: "job failed" in [line["event"] for line in lines])
            async with mail_server(port=port) as server:
                server.on_recipient.append("451 try again later")
                await until(lambda: server.letters)

    assert server.tries == 2
    reasons = [line["reason"] for line in lines if line["event"] == "job failed"]
    assert "can't be used" in reasons[0]
    assert "451 try again later" in reasons[-1]


async def test_a_mail_that_is_sent_again_is_the_same_message(
    home: Path, database: Database, database_url: str, server: MailServer
) -> None:
    box = _outbox(home, server.port)
    async with database.transaction() as connection:
        await box.post(connection, "mail/invite", BOB, INVITE)
        # As if the worker had died between the server's word and its own.
        await connection.execute(
            "INSERT INTO pgqueuer (priority, status, entrypoint, payload)"
            " SELECT priority, status, entrypoint, payload FROM pgqueuer"
        )
    async with working(database_url, *box.jobs()):
        await until(lambda: len(server.letters) == 2)

    first, second = (letter["Message-ID"] for letter in server.letters)
    assert first == second


async def test_a_wrong_address_is_refused_while_somebody_is_there_to_be_told(
    home: Path, database: Database
) -> None:
    box = _outbox(home, 25)
    with pytest.raises(InvalidRequest):
        async with database.transaction() as connection:
            await box.post(connection, "mail/invite", "bob@example.com\r\nBcc: eve@x.y", INVITE)

    assert (await _state(database)).waiting == 0


async def test_mail_sealed_with_another_secret_is_given_up(
    home: Path, database: Database, database_url: str, server: MailServer
) -> None:
    before = Outbox(_outbox(home, server.port)._smtp, Seal("another-secret", outbox.PURPOSE))
    async with database.transaction() as connection:
        await before.post(connection, "mail/invite", BOB, INVITE)
    with capture_logs() as lines:
        async with working(database_url, *_outbox(home, server.port).jobs()):
            await until(lambda: "job given up" in [line["event"] for line in lines])

    assert server.tries == 0
    assert "api_key_secret" in str(lines)


async def test_without_a_server_mail_that_waits_is_left_alone(home: Path) -> None:
    settings = Settings(home=home)

    box = Outbox.configured(settings, keyring.load(settings))

    assert not box.is_configured
    assert box.jobs() == []
    assert _outbox(home, 25).is_configured


def test_a_mail_is_tried_for_hours() -> None:
    retry = outbox.RETRY

    rests_s = sum(retry.delay_s(attempt) for attempt in range(1, retry.attempts))

    assert 4 * 3600 < rests_s < 8 * 3600
