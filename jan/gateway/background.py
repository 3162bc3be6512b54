"""Background work: all jobs of Jan in one list, and the process that does nothing else.

Gateway processes do it too, unless `run_jobs` says otherwise.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Never

import structlog

from jan import keyring
from jan.auth import jobs as auth
from jan.auth import reset
from jan.auth.codes import Codes
from jan.db import dsn, engine
from jan.invites import jobs as invites
from jan.jobs import housekeeping, worker
from jan.jobs.queue import Job, Schedule
from jan.keyring import Keyring
from jan.mail.outbox import Outbox
from jan.settings import Loaded, Settings

log = structlog.get_logger("jan.jobs")


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do, and when by itself."""

    jobs: Sequence[Job]
    schedules: Sequence[Schedule]


def work(settings: Settings, secrets: Keyring, database: engine.Database) -> Work:
    """Put together what the domains have to do. A new job is added here."""
    outbox = Outbox.configured(settings, secrets)
    return Work(
        jobs=[
            housekeeping.job(database),
            auth.job(),
            invites.job(),
            *outbox.jobs(),
            *reset.jobs(outbox, Codes(secrets.api_key_secret), settings.url),
        ],
        schedules=[housekeeping.SCHEDULE, auth.SCHEDULE, invites.SCHEDULE],
    )


async def do_jobs(settings: Settings, secrets: Keyring, database: engine.Database) -> Never:
    """Do all of it, for ever, while `database` is open. When cancelled, end within a bound."""
    found = work(settings, secrets, database)
    log.info("doing jobs", kinds=[job.name for job in found.jobs])
    return await worker.run(database.dsn, found.jobs, found.schedules)


async def run(loaded: Loaded) -> None:
    """Do jobs until a signal says to stop. The second ends at once."""
    settings = loaded.settings
    secrets = keyring.load(settings)
    database = engine.connect(
        dsn.resolve(settings, secrets),
        pool_size=settings.database_pool_size,
        application_name="jan worker",
    )
    async with database:
        working = asyncio.create_task(do_jobs(settings, secrets, database))
        _until_signalled(working)
        with suppress(asyncio.CancelledError):
            await working
    log.info("stopped")


def _until_signalled(working: asyncio.Task[Never]) -> None:
    def stop(number: signal.Signals) -> None:
        if working.cancelling():
            os._exit(128 + number)
        working.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
