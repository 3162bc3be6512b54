"""Background work: all jobs of Jan in one list, and the process that does nothing else.

Gateway processes do it too, unless `run_jobs` says otherwise.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from jan import keyring
from jan.auth import jobs as auth
from jan.auth import reset
from jan.auth.codes import Codes
from jan.db import opening
from jan.db.engine import Database
from jan.fleet import configured
from jan.fleet.credentials import ProviderKeys
from jan.gateway import fleet
from jan.gateway.carriers import opened
from jan.gateway.watchers import Watchers
from jan.inference.chat import Chat
from jan.invites import jobs as invites
from jan.jobs import housekeeping, worker
from jan.jobs.queue import Job, Schedule
from jan.keyring import Keyring
from jan.limits import jobs as limits
from jan.mail.outbox import Outbox
from jan.net.guard import Guard
from jan.net.policy import Policy
from jan.responses import background, retention, sweep
from jan.responses.background import Background
from jan.responses.compaction import Seal
from jan.responses.leases import Leases
from jan.responses.news import News
from jan.settings import Loaded, Settings
from jan.tools import health
from jan.tools import jobs as tools
from jan.tools.servers import Servers
from jan.usage import metering
from jan.usage.recorder import UsageRecorder
from jan.usage.tool_calls import ToolCallRecorder
from jan.valkey.memory import Memory

log = structlog.get_logger("jan.jobs")


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do, and when by itself."""

    jobs: Sequence[Job]
    schedules: Sequence[Schedule]


def work(settings: Settings, secrets: Keyring, database: Database) -> Work:
    """Put together what the domains have to do beside responses. A new job is added here."""
    outbox = Outbox.configured(settings, secrets)
    return Work(
        jobs=[
            housekeeping.job(database),
            auth.job(),
            invites.job(),
            sweep.job(),
            retention.job(),
            limits.job(),
            tools.job(settings.search_cache_bytes),
            health.job(settings, Servers(Policy.configured(settings), secrets.api_key_secret)),
            *outbox.jobs(),
            *reset.jobs(outbox, Codes(secrets.api_key_secret), settings.url),
        ],
        schedules=[
            *(housekeeping.SCHEDULE, auth.SCHEDULE, invites.SCHEDULE),
            *(sweep.SCHEDULE, retention.SCHEDULE, limits.SCHEDULE),
            *(tools.SCHEDULE, health.SCHEDULE),
        ],
    )


def kinds(settings: Settings, secrets: Keyring, database: Database) -> list[str]:
    """Name all kinds of jobs."""
    return [*(job.name for job in work(settings, secrets, database).jobs), background.NAME]


async def do_jobs(
    settings: Settings, secrets: Keyring, database: Database, making: Background
) -> None:
    """Do all of it, for ever, while `database` is open. When cancelled, end within a bound.

    Responses are made apart from the rest: no mail waits for an answer to be complete.
    """
    found = work(settings, secrets, database)
    long = [making.job()]
    log.info("doing jobs", kinds=[job.name for job in (*found.jobs, *long)])
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(database.dsn, found.jobs, found.schedules))
        group.create_task(worker.run(database.dsn, long, max_running=settings.background_responses))


async def run(loaded: Loaded) -> None:
    """Do jobs until a signal says to stop. The second ends at once."""
    settings = loaded.settings
    secrets = keyring.load(settings)
    database = opening.database(settings, secrets, application_name="jan worker")
    guard = Guard.configured(settings)
    models = fleet.configured(settings, secrets, guard)
    recorder, tool_calls, news = UsageRecorder(), ToolCallRecorder(), News()
    leases = Leases(news)
    memory = Memory.configured(settings, secrets)
    async with (
        guard,
        database,
        opened(settings, secrets, guard, database, memory, tool_calls.record) as carriers,
        asyncio.TaskGroup() as group,
    ):
        making = Background(
            Chat(models),
            Seal(secrets.api_key_secret),
            leases,
            metering.into(recorder, models.described),
            carriers=carriers,
            timeout_s=settings.background_timeout_s,
        )
        beside = [
            group.create_task(part)
            for part in (
                Watchers.configured(settings, secrets, database, models).run(),
                _name_model_server(settings, secrets),
                recorder.run(),
                tool_calls.run(),
                leases.run(),
                news.run(database.dsn),
                *([memory.run()] if memory else []),
            )
        ]
        working = group.create_task(do_jobs(settings, secrets, database, making))
        _until_signalled(working)
        await asyncio.wait([working])
        for task in beside:
            task.cancel()
    models.close()
    log.info("stopped")


async def _name_model_server(settings: Settings, secrets: Keyring) -> None:
    """Have the registry know the model servers that are named here: nobody else may be told."""
    if settings.inference_model_url is not None or settings.providers:
        await configured.keep_trying(settings, ProviderKeys(secrets.api_key_secret))


def _until_signalled(working: asyncio.Task[None]) -> None:
    def stop(number: signal.Signals) -> None:
        if working.cancelling():
            os._exit(128 + number)
        working.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
