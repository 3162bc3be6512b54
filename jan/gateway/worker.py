"""One gateway process: everything it needs, put together, and taken apart in the right order.

It starts whether or not the database and the model server are there, and heals when they are.
"""

import asyncio
import socket
from functools import partial

import structlog

from jan import keyring
from jan.auth.cache import CredentialCache
from jan.auth.means import Means
from jan.auth.passwords import Passwords
from jan.auth.tokens import AccessTokens
from jan.chat.relay import Relay
from jan.db import migrate, opening
from jan.db.engine import Database
from jan.errors import Unavailable
from jan.fleet import configured
from jan.fleet.credentials import ProviderKeys
from jan.gateway import fleet, server
from jan.gateway.app import create_app
from jan.gateway.background import do_jobs, kinds
from jan.gateway.carriers import opened
from jan.gateway.measures import Measures
from jan.gateway.parts import Parts
from jan.gateway.watchers import Watchers
from jan.inference.chat import Chat
from jan.invites.means import Means as InviteMeans
from jan.mcp import site
from jan.metrics import private as private_port
from jan.metrics.loop import LoopLag
from jan.metrics.requests import Generations, Requests
from jan.net.guard import Guard
from jan.responses.background import Background
from jan.responses.compaction import Seal
from jan.responses.leases import Leases
from jan.responses.news import News
from jan.settings import Loaded
from jan.telemetry import Exchange
from jan.usage import metering
from jan.usage.recorder import UsageRecorder
from jan.usage.tool_calls import ToolCallRecorder
from jan.valkey.memory import Memory

log = structlog.get_logger("jan.gateway")


async def run(
    loaded: Loaded,
    listener: socket.socket,
    private: socket.socket | None,
    *,
    is_alone: bool,
) -> None:
    """Serve on `listener` until told to stop. Usage is written before it returns.

    Metrics are told on `private`, if there is one.

    `is_alone`: no `jan serve` has started this process, so it tells the registry of the model
    server that the settings name.
    """
    settings = loaded.settings
    secrets = keyring.load(settings)
    guard = Guard.configured(settings)
    models = fleet.configured(settings, secrets, guard)
    relay = Relay(
        models,
        heartbeat_s=settings.heartbeat_s,
        max_body_bytes=settings.max_body_bytes,
    )
    database = opening.database(
        settings, secrets, application_name="jan gateway", reads_replicas=True
    )
    passwords = Passwords()
    means = Means.configured(settings, secrets, passwords=passwords)
    recorder, tool_calls = UsageRecorder(), ToolCallRecorder()
    memory = Memory.configured(settings, secrets)
    async with (
        guard,
        database,
        means.oidc,
        opened(settings, secrets, guard, database, memory, tool_calls.record) as carriers,
        asyncio.TaskGroup() as background,
    ):
        credentials = CredentialCache(
            database,
            secrets.api_key_secret,
            AccessTokens(secrets.jwt_secret, secrets.jwt_previous_secrets),
        )
        requests, generations, lag = Requests(), Generations(), LoopLag()
        record_usage = metering.into(recorder, models.described)

        def record(exchange: Exchange) -> None:
            record_usage(exchange)
            generations.count(exchange)

        news = News()
        leases = Leases(news)
        watchers = Watchers.configured(settings, secrets, database, models)
        lasting = (credentials, recorder, tool_calls, watchers, leases, database.replicas, lag)
        running = [background.create_task(part.run()) for part in lasting]
        running.append(background.create_task(news.run(database.dsn)))
        if memory is not None:
            running.append(background.create_task(memory.run()))
        if is_alone:
            keys = ProviderKeys(secrets.api_key_secret)
            running.append(background.create_task(configured.keep_trying(settings, keys)))
        jobs = []
        if settings.run_jobs:
            making = Background(
                Chat(models),
                Seal(secrets.api_key_secret),
                leases,
                record,
                carriers=carriers,
                timeout_s=settings.background_timeout_s,
            )
            jobs.append(background.create_task(do_jobs(settings, secrets, database, making)))
        front = create_app(
            Parts(
                settings=settings,
                credentials=credentials,
                key_secret=secrets.api_key_secret,
                passwords=passwords,
                means=means,
                relay=relay,
                standing=watchers.checks.standing,
                invites=InviteMeans.configured(settings, secrets, passwords=passwords),
                checks={
                    "database": database.ping,
                    "schema": partial(_check_schema, database),
                },
                optional_checks={
                    **{each.name: each.check for each in database.replicas.every},
                    **({"valkey": memory.check} if memory else {}),
                },
                record=record,
                requests=requests,
                note_use=recorder.note_use,
                leases=leases,
                news=news,
                allowed_origins=settings.allowed_origins,
                public_url=settings.public_url,
                names=site.names(settings),
                trusted_proxies=settings.trusted_proxies,
                carriers=carriers,
                toolbox=carriers.toolbox,
            )
        )
        measures = Measures(
            requests=requests,
            generations=generations,
            running=lambda: front.running,
            passages=relay.passages,
            fleet=models,
            checks=watchers.checks,
            database=database,
            recorders={"usage": recorder, "tool_call": tool_calls},
            job_kinds=kinds(settings, secrets, database),
            lag=lag,
        )
        log.info("listening", port=listener.getsockname()[1])
        async with private_port.serving(private, measures.collect):
            await server.serve(front, listener, grace_s=settings.drain_grace_s)
        for task in jobs:  # first: they leave rows of usage at their end too
            task.cancel()
            await asyncio.wait([task])
        for task in running:
            task.cancel()
    models.close()


async def _check_schema(database: Database) -> None:
    pending = [step for step, has_run in await migrate.status(database) if not has_run]
    if pending:
        raise Unavailable(f"{len(pending)} migrations have not run")
