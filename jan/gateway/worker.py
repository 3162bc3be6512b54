"""One gateway process: everything it needs, put together, and taken apart in the right order.

It starts whether or not the database and the model server are there, and heals when they are.
"""

import asyncio
import socket
from functools import partial

import structlog

from jan import keyring, telemetry
from jan.auth.cache import CredentialCache
from jan.auth.means import Means
from jan.auth.passwords import Passwords
from jan.auth.tokens import AccessTokens
from jan.chat.relay import Relay
from jan.db import dsn, engine, migrate
from jan.errors import Unavailable
from jan.gateway import server
from jan.gateway.app import create_app
from jan.gateway.background import do_jobs
from jan.gateway.parts import Parts
from jan.inference import trouble
from jan.inference.catalog import Catalog
from jan.inference.client import Client
from jan.inference.upstream import Upstream
from jan.invites.means import Means as InviteMeans
from jan.settings import Loaded
from jan.usage.recorder import UsageRecorder
from jan.usage.schemas import UsageRow

log = structlog.get_logger("jan.gateway")


async def run(loaded: Loaded, listener: socket.socket) -> None:
    """Serve on `listener` until told to stop. Usage is written before it returns."""
    settings = loaded.settings
    secrets = keyring.load(settings)
    client = Client(settings.upstream_url, connect_timeout_s=settings.connect_timeout_s)
    key = settings.inference_model_api_key
    upstream = Upstream(client, api_key=key.get_secret_value() if key else None)
    catalog = Catalog(upstream, why_away=partial(trouble.told, settings.own_socket))
    relay = Relay(
        upstream,
        catalog,
        heartbeat_s=settings.heartbeat_s,
        max_body_bytes=settings.max_body_bytes,
    )
    database = engine.connect(
        dsn.resolve(settings, secrets),
        read_dsns=dsn.resolve_reads(settings),
        pool_size=settings.database_pool_size,
        application_name="jan gateway",
    )
    passwords = Passwords()
    means = Means.configured(settings, secrets, passwords=passwords)
    async with database, means.oidc, asyncio.TaskGroup() as background:
        credentials = CredentialCache(
            database,
            secrets.api_key_secret,
            AccessTokens(secrets.jwt_secret, secrets.jwt_previous_secrets),
        )
        recorder = UsageRecorder()
        running = [background.create_task(part.run()) for part in (credentials, recorder, catalog)]
        if settings.run_jobs:
            running.append(background.create_task(do_jobs(settings, secrets, database)))
        replicas = [f"replica_{number}" for number, _ in enumerate(database.read_pools, 1)]
        front = create_app(
            Parts(
                credentials=credentials,
                key_secret=secrets.api_key_secret,
                passwords=passwords,
                means=means,
                catalog=catalog,
                relay=relay,
                invites=InviteMeans.configured(settings, secrets, passwords=passwords),
                checks={
                    "database": partial(_check, database, "primary"),
                    "schema": partial(_check_schema, database),
                },
                optional_checks={name: partial(_check, database, name) for name in replicas},
                record=lambda exchange: recorder.record(_row(exchange)),
                note_use=recorder.note_use,
                allowed_origins=settings.allowed_origins,
                trusted_proxies=settings.trusted_proxies,
            )
        )
        log.info("listening", port=listener.getsockname()[1])
        await server.serve(front, listener, grace_s=settings.drain_grace_s)
        for task in running:
            task.cancel()
    client.close()


async def _check(database: engine.Database, server: str) -> None:
    error = (await database.ping())[server]
    if error is not None:
        raise error


async def _check_schema(database: engine.Database) -> None:
    pending = [step for step, has_run in await migrate.status(database) if not has_run]
    if pending:
        raise Unavailable(f"{len(pending)} migrations have not run")


def _row(exchange: telemetry.Exchange) -> UsageRow:
    caller = exchange.caller
    return UsageRow(
        id=exchange.request_id,
        organization_id=caller and caller.owning_organization_id,
        project_id=caller and caller.project_id,
        user_id=caller and caller.user_id,
        key_id=caller and caller.key_id,
        model=exchange.model or "",
        path=exchange.path,
        status=exchange.status,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        cached_tokens=exchange.cached_tokens,
        time_to_first_token_ms=exchange.time_to_first_token_ms,
        duration_ms=exchange.duration_ms,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        is_stream=exchange.is_stream,
        error_code=exchange.error_code,
        created_at=exchange.created_at,
    )
