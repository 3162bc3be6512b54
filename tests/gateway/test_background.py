"""Background work as a process does it: `jan worker`, and a gateway beside its requests."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from croniter import croniter

from jan import keyring, settings
from jan.db import scope
from jan.db.engine import Database
from jan.gateway import background
from jan.mail.outbox import Outbox
from jan.responses import background as making
from tests.conftest import fetch
from tests.conversations.owners import caller_of
from tests.fakes import FakeUpstream
from tests.gateway.test_worker import SECRET, running
from tests.mail.servers import HOST, MailServer, mail_server
from tests.responses.backgrounds import Stalling
from tests.responses.chats import delta, end, usage
from tests.responses.stored import rows
from tests.responses.test_store import begin
from tests.serving import until
from tests.tenants import new_person

DEADLINE_S = 15
INVITE = {"organization": "Acme", "inviter": "Ada", "link": "https://x/?my-private-code", "days": 7}
OF_WORKERS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'jan jobs' AND datname = current_database()
"""


def _environment(home: Path, database_url: str, server: MailServer) -> dict[str, str]:
    return {
        "JAN_HOME": str(home),
        "JAN_DATABASE_URL": database_url,
        "JAN_API_KEY_SECRET": SECRET,
        "SMTP_HOST": HOST,
        "SMTP_PORT": str(server.port),
        "SMTP_SENDER_EMAIL": "jan@example.com",
        "JAN_SMTP_SECURITY": "none",
    }


async def _post(environment: dict[str, str], database: Database) -> None:
    loaded = settings.load(environ=environment).settings
    outbox = Outbox.configured(loaded, keyring.load(loaded))
    async with database.transaction() as connection:
        await outbox.post(connection, "mail/invite", "bob@example.com", INVITE)


@asynccontextmanager
async def _worker(environment: dict[str, str]) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jan", "worker"), env={**os.environ, **environment}, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _until(server: MailServer, letters: int) -> None:
    with anyio.fail_after(DEADLINE_S):
        while len(server.letters) < letters:
            await asyncio.sleep(0.02)


async def test_a_worker_alone_sends_mail_and_ends_when_told(
    home: Path, database: Database, database_url: str
) -> None:
    async with mail_server() as server:
        environment = _environment(home, database_url, server)
        async with _worker(environment) as process:
            await _post(environment, database)
            await _until(server, 1)
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(DEADLINE_S):
                _, log = await process.communicate()

    assert process.returncode == 0
    assert b"job done" in log
    assert b"my-private-code" not in log
    assert b"Traceback" not in log


async def test_a_worker_alone_makes_responses_and_mail_does_not_wait_for_them(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    script = Stalling([delta(content="Hel")], [delta(content="lo"), end(), usage()])
    upstream.script("/v1/chat/completions", script)
    ann = caller_of(await new_person("ann"))
    for _ in range(3):
        machine = await begin(ann, status="queued", background=True)
        async with scope.system() as connection:
            await making.enqueue(connection, machine.response.id)
    async with mail_server() as server:
        environment = _environment(home, database_url, server)
        environment["JAN_INFERENCE_MODEL_URL"] = upstream.url
        environment["JAN_BACKGROUND_RESPONSES"] = "2"
        async with _worker(environment) as process:
            await until(lambda: upstream.running == 2, deadline_s=DEADLINE_S)
            await _post(environment, database)
            await _until(server, 1)
            assert len(upstream.requests) == 2
            script.may_go_on.set()
            with anyio.fail_after(DEADLINE_S):
                while {row["status"] for row in await rows()} != {"completed"}:
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(DEADLINE_S):
                _, log = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in log
    used = await fetch("SELECT request_id, user_id, completion_tokens FROM usage")
    assert {row["request_id"] for row in used} == {row["id"] for row in await rows()}
    assert {(row["user_id"], row["completion_tokens"]) for row in used} == {(ann.user_id, 3)}


async def test_a_second_signal_ends_a_worker_at_once(
    home: Path, database: Database, database_url: str
) -> None:
    async with mail_server() as server:
        server.may_answer.clear()
        environment = _environment(home, database_url, server)
        async with _worker(environment) as process:
            await _post(environment, database)
            with anyio.fail_after(DEADLINE_S):
                while not server.tries:
                    await asyncio.sleep(0.02)
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)
                await process.communicate()

    assert process.returncode == 128 + signal.SIGINT
    assert server.letters == []


async def test_a_gateway_does_jobs_beside_its_requests(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with mail_server() as server:
        environment = _environment(home, database_url, server)
        async with running(home, database_url, upstream.url, **environment) as worker:
            await _post(environment, database)
            await _until(server, 1)
            code, _ = await worker.end(signal.SIGTERM)

    assert code == 0


async def test_a_gateway_leaves_jobs_to_others_where_that_is_said(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with running(home, database_url, upstream.url, JAN_RUN_JOBS="false") as worker:
        await worker.until_ready()
        assert await database.pool.fetchval(OF_WORKERS) == 0
        code, log = await worker.end(signal.SIGTERM)

    assert code == 0
    assert "doing jobs" not in log


async def test_what_is_scheduled_exists_and_comes_at_a_time_that_exists(
    home: Path, database: Database
) -> None:
    loaded = settings.load({"home": home}, environ={}).settings

    work = background.work(loaded, keyring.load(loaded), database)

    names = [job.name for job in work.jobs]
    assert len(set(names)) == len(names)
    for schedule in work.schedules:
        assert schedule.job in names
        assert croniter.is_valid(schedule.cron)
        assert len(schedule.cron.split()) == 5, "minutes are the finest grain"
