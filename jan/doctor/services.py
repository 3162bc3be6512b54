"""What Jan runs or uses: database, engine, model server, model store, secrets."""

import asyncio

import asyncpg
import httpx

from jan import clock, keyring
from jan.db import dsn, embedded, migrate
from jan.db.engine import Database, connect
from jan.doctor.findings import Finding
from jan.errors import DatabaseUnavailable, Unavailable
from jan.jobs import queue
from jan.mail.smtp import Smtp
from jan.runner import bundles, carried, demonstration, engines, hardware, sizes, store
from jan.settings import Loaded

MAX_CLOCK_SKEW_S = 5.0
"""Keys expire and leases end by these clocks."""
ANSWER_TIMEOUT_S = 5.0
LOOKS = 2
"""At the replicas: what was the primary's log at the first is what they must have by the second."""
MAX_OVERDUE_S = 300.0
"""A job that is due is taken within seconds, unless nobody does any."""


async def secrets(loaded: Loaded) -> Finding:
    """Whether the secrets are there, private and long enough. Makes none."""
    path = loaded.settings.home / keyring.FILE
    if not keyring.check(loaded.settings):
        return Finding("secrets", "ok", f"{path} will be made at the first start")
    return Finding("secrets", "ok", f"{path} is private and complete")


async def database(loaded: Loaded) -> Finding:
    """Whether the database answers, is Jan's and of this version, and agrees on the time."""
    settings = loaded.settings
    if settings.manages_database:
        embedded.check(settings.home)
        if not (settings.home / keyring.FILE).exists():
            return Finding("database", "ok", "Jan's own will be made at the first start")
    url = dsn.configured(settings) or dsn.resolve(settings, keyring.load(settings))
    async with connect(url, pool_size=1, application_name="jan doctor") as opened:
        try:
            return await _examine(opened)
        except DatabaseUnavailable as error:
            if settings.manages_database:
                return Finding("database", "ok", "Jan's own is not running; `jan serve` starts it")
            return Finding(
                "database", "failure", error.message, "Check JAN_DATABASE_URL and the server."
            )


async def replicas(loaded: Loaded) -> Finding:
    """Whether the read replicas answer, and are not too far behind."""
    settings = loaded.settings
    if not settings.database_read_urls:
        return Finding("replicas", "ok", "none configured")
    async with connect(
        dsn.configured(settings) or "",
        read_from=dsn.resolve_reads(settings),
        pool_size=1,
        application_name="jan doctor",
        max_lag_s=settings.database_read_max_lag_s,
    ) as opened:
        for _ in range(LOOKS):
            await opened.replicas.look()
        every = opened.replicas.every
    unfit = [f"{each.name}: {each.trouble}" for each in every if each.trouble is not None]
    if unfit:
        return Finding(
            "replicas",
            "warning",
            f"Not every replica is read: {'; '.join(unfit)}.",
            "Reads go to the others meanwhile, or to the primary.",
        )
    return Finding("replicas", "ok", f"{len(every)} answer and keep up")


async def valkey(loaded: Loaded) -> Finding:
    """Whether the Valkey or Redis takes what is to be remembered, and always will."""
    settings = loaded.settings
    if settings.redis is None:
        return Finding("valkey", "ok", "none configured: PostgreSQL serves")
    from jan.valkey.client import connected  # noqa: PLC0415 - 0.1 s, for who has a server

    place = settings.redis.place
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S), connected(settings.redis) as client:
            await client.prove("jan:probe")
            about = await client.about()
    except Exception as error:  # noqa: BLE001 - the library raises anything
        return Finding(
            "valkey",
            "warning",
            f"{place} is not used ({str(error) or type(error).__name__}): PostgreSQL serves.",
            "Check JAN_REDIS_URL and the server.",
        )
    if about.get("maxmemory") and about.get("maxmemory_policy") == "noeviction":
        return Finding(
            "valkey",
            "warning",
            f"{place} takes nothing more once its memory is full: PostgreSQL serves then.",
            "Let it forget what was not used for long: CONFIG SET maxmemory-policy allkeys-lru",
        )
    version = about.get("valkey_version") or about.get("redis_version", "of some version")
    return Finding("valkey", "ok", f"{place} answers ({version})")


async def jobs(loaded: Loaded) -> Finding:
    """Whether background work gets done."""
    settings = loaded.settings
    if settings.manages_database and not (settings.home / keyring.FILE).exists():
        return Finding("jobs", "ok", "none yet")
    url = dsn.configured(settings) or dsn.resolve(settings, keyring.load(settings))
    try:
        async with (
            connect(url, pool_size=1, application_name="jan doctor") as opened,
            opened.connection() as connection,
        ):
            state = await queue.state(connection)
    except (DatabaseUnavailable, asyncpg.UndefinedTableError):
        return Finding("jobs", "ok", "not known without the database")
    if state.overdue_s > MAX_OVERDUE_S:
        return Finding(
            "jobs",
            "warning",
            f"{state.waiting} wait, the oldest for {state.overdue_s / 60:.0f} minutes too long.",
            "Start `jan worker`, or set JAN_RUN_JOBS=true for the gateway.",
        )
    if state.failed:
        return Finding(
            "jobs",
            "warning",
            f"{state.failed} were given up.",
            "The log says why, in lines `job given up`. They are removed after 30 days.",
        )
    return Finding("jobs", "ok", f"{state.waiting} wait, {state.running} run, none has failed")


async def mail(loaded: Loaded) -> Finding:
    """Whether the mail server would take mail from us."""
    if loaded.settings.smtp_host is None:
        return Finding("mail", "ok", "no server configured: links are shown instead")
    smtp = Smtp(loaded.settings)
    try:
        await smtp.probe()
    except Unavailable as error:
        return Finding("mail", "failure", error.message, "Check the settings JAN_SMTP_*.")
    if loaded.settings.public_url is None:
        return Finding(
            "mail",
            "warning",
            f"Links in mails begin with {loaded.settings.url}, which may work here only.",
            "Set JAN_PUBLIC_URL to where people reach Jan.",
        )
    return Finding("mail", "ok", f"{smtp.name} would take mail from {smtp.sender}")


async def engine(loaded: Loaded) -> Finding:
    """Whether the engine for this machine is installed."""
    settings = loaded.settings
    if not settings.manages_engine:
        return Finding("engine", "ok", f"not needed: {settings.inference_model_url} is used")
    wanted = hardware.chosen(settings.engine).variant
    bundle = bundles.find(wanted)
    if engines.find(settings.home, bundle):
        return Finding("engine", "ok", f"{bundle.name} is installed")
    if carried.find(wanted):
        words = f"{bundle.name} is in this file, and is unpacked when it is needed"
        return Finding("engine", "ok", words)
    return Finding(
        "engine",
        "warning",
        f"{bundle.name} is not installed ({sizes.in_words(bundle.download_bytes)} to download).",
        f"`jan engine install {wanted}`, or let `jan serve` do it.",
    )


async def model_store(loaded: Loaded) -> Finding:
    """Whether the model that is to be served is there."""
    settings = loaded.settings
    held = store.models(settings.home)
    words = f"{len(held)} models, {sizes.in_words(sum(model.size_bytes for model in held))}"
    wanted = [each.name for each in settings.deployments if each.name != demonstration.NAME]
    for name in wanted:
        store.get(settings.home, name)
    if not wanted:
        return Finding("models", "ok", words)
    return Finding("models", "ok", f"{words}; {', '.join(wanted)} there")


async def model_server(loaded: Loaded) -> Finding:
    """Whether the configured model server answers."""
    settings = loaded.settings
    if settings.manages_engine:
        return Finding("model server", "ok", "Jan's own")
    key = settings.inference_model_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(f"{settings.upstream_url}/v1/models", headers=headers)
    except httpx.HTTPError as error:
        problem = f"{settings.upstream_url} does not answer ({type(error).__name__})."
    else:
        if answer.is_success and _has_model(answer):
            return Finding("model server", "ok", f"{settings.upstream_url} answers")
        problem = f"{settings.upstream_url}/v1/models answers {answer.status_code}"
        problem += ", but names no model." if answer.is_success else "."
    return Finding(
        "model server",
        "failure",
        problem,
        "Check JAN_INFERENCE_MODEL_URL and JAN_INFERENCE_MODEL_API_KEY.",
    )


def _has_model(answer: httpx.Response) -> bool:
    try:
        return bool(answer.json()["data"])
    except (ValueError, KeyError, TypeError):
        return False


async def _examine(opened: Database) -> Finding:
    async with opened.connection() as connection:
        its_time = await connection.fetchval("SELECT clock_timestamp()")
        version = await connection.fetchval("SHOW server_version")
    skew_s = abs((clock.now() - its_time).total_seconds())
    pending = [step for step, has_run in await migrate.status(opened) if not has_run]
    if skew_s > MAX_CLOCK_SKEW_S:
        return Finding(
            "database",
            "warning",
            f"The database's clock differs from this machine's by {skew_s:.0f} s.",
            "Let both be set: timedatectl set-ntp true",
        )
    if pending:
        return Finding(
            "database", "warning", f"{len(pending)} migrations have not run.", "jan migrate up"
        )
    return Finding("database", "ok", f"PostgreSQL {version} answers, the schema is up to date")
