"""The doctor names what is wrong and how to mend it, and changes nothing."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jan import clock, keyring, settings
from jan.db.engine import Database
from jan.doctor.examine import CHECKS, examine
from jan.doctor.findings import Finding
from tests.fakes import FakeUpstream, Reply, Seen
from tests.gateways import Gateway
from tests.mail.servers import HOST, mail_server
from tests.ports import free_port
from tests.valkeys import cluster, valkey


async def _examined(home: Path, **flags: Any) -> dict[str, Finding]:
    loaded = settings.load({"home": home, "port": 0, **flags}, environ={})
    return {finding.subject: finding for finding in await examine(loaded)}


async def test_a_fresh_machine_is_well_and_left_as_it_was(home: Path) -> None:
    findings = await _examined(home / "new", inference_model_url="http://127.0.0.1:1")

    assert list(findings) == list(CHECKS)
    assert [f.subject for f in findings.values() if f.level == "failure"] == ["model server"]
    assert not (home / "new").exists()


async def test_a_configured_database_is_looked_at_without_making_secrets(home: Path) -> None:
    await _examined(home / "new", database_url="postgresql://jan@127.0.0.1:1/jan")

    assert not (home / "new").exists()


async def test_a_check_that_breaks_hides_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: settings.Loaded) -> Finding:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(CHECKS, "disk", broken)
    findings = await _examined(home, database_url="postgresql://jan@db/jan?sslmode=bogus")

    assert list(findings) == list(CHECKS)
    assert "Permission denied" in findings["disk"].message
    assert "sslmode" in findings["database"].message
    assert all(f.hint for f in findings.values() if f.level == "failure")


async def test_every_failure_says_how_to_mend_it(home: Path) -> None:
    (home / "secrets.toml").write_text("damaged", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        findings = await _examined(
            home,
            port=taken.getsockname()[1],
            database_url="postgresql://jan@127.0.0.1:1/jan",
            inference_model_url="http://127.0.0.1:1",
        )

    failures = {name for name, f in findings.items() if f.level == "failure"}
    assert failures >= {"secrets", "port", "database", "model server"}
    assert all(f.hint for f in findings.values() if f.level != "ok")


async def test_the_engines_port_is_looked_at_where_jan_runs_one(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        own = await _examined(home, runner_port=number)
        other = await _examined(home, runner_port=number, inference_model_url="http://127.0.0.1:1")

    assert own["engine port"].level == "failure"
    assert "JAN_RUNNER_PORT" in (own["engine port"].hint or "")
    assert other["engine port"].level == "ok"


async def test_a_running_jan_may_use_its_ports(home: Path, gateway: Gateway) -> None:
    number = int(gateway.url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", 0)) as engine:
        findings = await _examined(home, port=number, runner_port=engine.getsockname()[1])

    assert (findings["port"].level, findings["engine port"].level) == ("ok", "ok")


async def test_a_model_server_without_a_model_is_told(home: Path, upstream: FakeUpstream) -> None:
    with_one = await _examined(home, inference_model_url=upstream.url)

    async def nothing(_: Seen, reply: Reply) -> None:
        await reply.json({"object": "list", "data": []})

    upstream.script("/v1/models", nothing)
    with_none = await _examined(home, inference_model_url=upstream.url)

    assert with_one["model server"].level == "ok"
    assert with_none["model server"].level == "failure"
    assert "names no model" in with_none["model server"].message


async def test_data_of_another_major_version_is_told(home: Path) -> None:
    (home / "postgres/data").mkdir(parents=True)
    (home / "postgres").chmod(0o700)
    (home / "postgres/data/PG_VERSION").write_text("16\n", encoding="utf-8")

    finding = (await _examined(home))["database"]

    assert finding.level == "failure"
    assert "made by PostgreSQL 16" in finding.message


async def test_a_data_folder_that_is_open_to_others_is_told(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres").chmod(0o755)

    assert (await _examined(home))["database"].hint == f"chmod 700 {home / 'postgres'}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
async def test_a_home_that_postgresqls_user_cant_enter_is_told(home: Path) -> None:
    (home / "closed").mkdir(mode=0o700)

    finding = (await _examined(home / "closed/home"))["database"]

    assert finding.level == "failure"
    assert f"can't enter {home / 'closed'}" in finding.message
    assert not (home / "closed/home").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("where", ["made", "not made"])
def test_a_home_of_somebody_elses_is_no_bug(home: Path, where: str) -> None:
    """In a process of its own: there is no way back from another user."""
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    mine = closed if where == "made" else closed / "home"
    program = f"""
import asyncio, encodings.idna, json, os, ssl, sys
from dataclasses import asdict
from pathlib import Path
from jan import settings
from jan.doctor.examine import examine
os.setgroups([]); os.setgid(65534); os.setuid(65534)
loaded = settings.load({{"home": Path({str(mine)!r}), "port": 0}}, environ={{}})
print(json.dumps([asdict(finding) for finding in asyncio.run(examine(loaded))]))
"""

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    findings = {finding["subject"]: finding for finding in json.loads(run.stdout)}
    assert findings["permissions"]["level"] == findings["database"]["level"] == "failure"
    assert "not yours" in findings["permissions"]["message"]
    assert "bug" not in run.stdout
    assert f"user who owns {mine}" in findings["database"]["hint"]


async def test_a_database_is_examined(home: Path, database_url: str) -> None:
    findings = await _examined(home, database_url=database_url)

    assert findings["database"].level == "ok"
    assert "up to date" in findings["database"].message


async def test_pending_migrations_and_silent_replicas_are_told(
    home: Path, empty_database_url: str
) -> None:
    findings = await _examined(
        home,
        database_url=empty_database_url,
        database_read_urls=["postgresql://jan@127.0.0.1:1/jan"],
    )

    assert findings["database"].hint == "jan migrate up"
    assert findings["replicas"].level == "warning"


async def test_a_valkey_that_is_not_used_or_may_be_full_is_told(home: Path) -> None:
    none = (await _examined(home))["valkey"]
    async with valkey() as server:
        well = (await _examined(home, redis_url=server.url))["valkey"]
        await server.command("CONFIG", "SET", "maxmemory", "100mb")
        full = (await _examined(home, redis_url=server.url))["valkey"]
        wrong = (await _examined(home, redis_url=f"redis://:x@{HOST}:{server.port}"))["valkey"]
    away = (await _examined(home, redis_url=server.url))["valkey"]

    assert [each.level for each in (none, well)] == ["ok", "ok"]
    assert well.message.startswith(f"{HOST}:{server.port} answers (9.")
    assert [each.level for each in (full, wrong, away)] == ["warning"] * 3
    assert full.hint is not None
    assert "allkeys-lru" in full.hint
    assert "invalid username-password" in wrong.message
    assert "PostgreSQL serves" in away.message


async def test_a_valkey_cluster_is_looked_at(home: Path) -> None:
    async with cluster(1) as (server,):
        url = server.url.replace("redis://", "redis+cluster://")
        well = (await _examined(home, redis_url=url))["valkey"]

    assert well.level == "ok"


async def test_jobs_that_wait_or_failed_are_told(
    home: Path, database: Database, database_url: str
) -> None:
    well = (await _examined(home, database_url=database_url))["jobs"]
    await database.pool.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint) VALUES (0, 'failed', 'x')"
    )
    failed = (await _examined(home, database_url=database_url))["jobs"]
    await database.pool.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint, execute_after)"
        " VALUES (0, 'queued', 'x', now() - interval '1 hour')"
    )
    late = (await _examined(home, database_url=database_url))["jobs"]

    assert (well.level, failed.level, late.level) == ("ok", "warning", "warning")
    assert "1 were given up" in failed.message
    assert "60 minutes" in late.message


async def test_a_mail_server_is_tried_without_sending(home: Path) -> None:
    said = {"smtp_host": HOST, "smtp_sender_email": "jan@example.com", "smtp_security": "none"}
    async with mail_server() as server:
        near = (await _examined(home, smtp_port=server.port, **said))["mail"]
        said["public_url"] = "https://jan.example.com"
        found = (await _examined(home, smtp_port=server.port, **said))["mail"]
    away = (await _examined(home, smtp_port=free_port(), **said))["mail"]

    assert (found.level, near.level, away.level) == ("ok", "warning", "failure")
    assert "http://127.0.0.1:0" in near.message
    assert away.hint
    assert server.tries == 0


async def test_a_clock_before_the_programs_own_birth_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: clock.datetime(1990, 1, 1, tzinfo=clock.UTC))

    assert (await _examined(home))["clock"].level == "failure"


async def test_a_home_that_everyone_may_write_to_is_refused(home: Path) -> None:
    home.chmod(0o777)

    finding = (await _examined(home))["permissions"]

    assert (finding.level, finding.hint) == ("failure", f"chmod o-w {home}")


async def test_a_model_that_is_not_there_is_told(home: Path) -> None:
    finding = (await _examined(home, model="org/missing"))["models"]

    assert finding.level == "failure"
    assert "org/missing" in finding.message


async def test_open_secrets_are_a_failure(home: Path) -> None:
    keyring.load(settings.load({"home": home}, environ={}).settings)
    (home / "secrets.toml").chmod(0o644)

    assert (await _examined(home))["secrets"].level == "failure"
