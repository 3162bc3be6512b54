"""The doctor names what is wrong and how to mend it, and changes nothing."""

import socket
from pathlib import Path
from typing import Any

import pytest

from jan import clock, keyring, settings
from jan.db.engine import Database
from jan.doctor.examine import CHECKS, examine
from jan.doctor.findings import Finding
from tests.mail.servers import HOST, free_port, mail_server


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
        found = (await _examined(home, smtp_port=server.port, **said))["mail"]
    away = (await _examined(home, smtp_port=free_port(), **said))["mail"]

    assert (found.level, away.level) == ("ok", "failure")
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
