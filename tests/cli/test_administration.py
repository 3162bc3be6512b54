"""The commands of the administration: on the box, and from afar, with the same words."""

import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from jan.db.engine import Database
from tests.fakes import FakeUpstream
from tests.gateway.test_worker import SECRET, running
from tests.gateways import upstream

__all__ = ["upstream"]


@dataclass
class Shell:
    """Where commands are typed."""

    environment: dict[str, str]

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run a command. Returns its exit code and what it printed."""
        run = await anyio.run_process(
            [sys.executable, "-m", "jan", *arguments],
            env=self.environment,
            input=stdin.encode(),
            check=False,
        )
        return run.returncode, run.stdout.decode(), run.stderr.decode()

    async def read(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        code, out, err = await self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def box(home: Path, database_url: str) -> Shell:
    """A shell on the machine itself, where `jan serve` is not running."""
    named = {"JAN_HOME": str(home), "JAN_DATABASE_URL": database_url, "JAN_API_KEY_SECRET": SECRET}
    return Shell({**os.environ, **named})


@pytest.fixture(params=["on the box", "from afar"])
async def shell(  # noqa: PLR0913, PLR0917 - as many as there are things on both ways
    request: pytest.FixtureRequest,
    box: Shell,
    home: Path,
    database: Database,
    database_url: str,
    upstream: FakeUpstream,
    tmp_path: Path,
) -> AsyncIterator[Shell]:
    """Either way to administer."""
    if request.param == "on the box":
        yield box
        return
    _, key, _ = await box.run("key", "create", "--kind", "admin", "--name", "ops")
    async with running(home, database_url, upstream.url) as worker:
        named = {"JAN_SERVER": worker.url, "JAN_ADMIN_KEY": key.strip()}
        yield Shell({**os.environ, **named, "JAN_HOME": str(tmp_path / "elsewhere")})


@pytest.mark.slow
async def test_the_whole_tenancy_is_run_from_a_shell(shell: Shell) -> None:
    org = await shell.read("org", "list")
    assert [each["is_default"] for each in org] == [True]

    project = await shell.read("project", "create", "lab")
    renamed = await shell.read("project", "update", project["id"], "--name", "laboratory")
    assert renamed["name"] == "laboratory"

    ann = await shell.read("user", "create", "ann@example.com", "--name", "Ann")
    await shell.read("member", "add", "ann@example.com", "--role", "reader")
    await shell.read("member", "add", ann["id"], "--role", "owner", "--project", project["id"])
    members = await shell.read("member", "list", "--project", project["id"])
    assert [(each["id"], each["role"]) for each in members] == [(ann["id"], "owner")]

    code, key, _ = await shell.run("service-account", "create", "bot", "--project", project["id"])
    assert code == 0
    assert key.startswith("sk-jan-")
    (listed,) = await shell.read("key", "list", "--project", project["id"])
    code, rotated, _ = await shell.run("key", "rotate", listed["id"], "--yes")
    assert code == 0
    assert rotated.startswith("sk-jan-")
    assert rotated != key

    invite = await shell.read("invite", "create", "bob@example.com", "--role", "reader")
    assert "code=" in invite["link"]
    assert (await shell.run("invite", "cancel", invite["id"], "--yes"))[0] == 0
    assert await shell.read("invite", "list") == []

    assert (await shell.run("project", "archive", project["id"], "--yes"))[0] == 0
    assert (await shell.run("user", "disable", ann["id"]))[0] == 0
    assert not (await shell.read("user", "show", ann["id"]))["is_enabled"]
    assert (await shell.run("member", "remove", ann["id"], "--yes"))[0] == 0
    assert (await shell.run("user", "delete", ann["id"], "--yes"))[0] == 0

    acts = [act["type"] for act in await shell.read("audit", "list", "--limit", "100")]
    assert {"project.created", "project.archived", "invite.deleted", "api_key.updated"} <= set(acts)
    verdict = await shell.read("audit", "verify")
    _, lines, _ = await shell.run("audit", "export")
    assert len(lines.splitlines()) == verdict["count"] >= len(acts) > 10
    assert json.loads(lines.splitlines()[-1])["hash"] == verdict["hash"]
    assert (await shell.run("audit", "verify", "--expect", "0" * 63 + "1"))[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("org", "show", "org_missing"),
        ("project", "show", "../../v1/keys"),
        ("member", "show", "user_missing"),
        ("project", "list", "--org", "org_missing"),
        ("user", "create", "nobody"),
        ("key", "create", "--name", "x", "--kind", "golden"),
        ("invite", "create", "a@example.com", "--role", "emperor"),
        ("retention", "show", "--org", "org_missing"),
        ("retention", "set", "0", "--yes"),
        ("retention", "set", "36501", "--yes"),
        ("retention", "set", "1", "--org", "../users", "--yes"),
    ],
    ids=" ".join,
)
async def test_what_can_not_be_done_is_refused_in_words(
    box: Shell, database: Database, arguments: tuple[str, ...]
) -> None:
    code, out, err = await box.run(*arguments)

    assert (code, out) == (1, "")
    assert err.startswith("error: ")


@pytest.mark.slow
async def test_an_organization_says_how_long_it_keeps_what_was_said(shell: Shell) -> None:
    org = await shell.read("org", "create", "Acme")
    ours = ("--org", org["id"])
    assert (await shell.read("retention", "show", *ours))["retention_days"] is None

    code, out, err = await shell.run("retention", "set", "30", *ours, "--yes", "--json")
    assert (code, json.loads(out)["retention_days"]) == (0, 30)
    assert err == "What is older is deleted within the hour, by a job.\n"
    code, out, err = await shell.run("retention", "show", *ours)
    assert (code, out.split()[-1], err) == (0, "30", "")
    assert (await shell.read("retention", "show"))["is_default"]
    assert (await shell.read("retention", "show"))["retention_days"] is None

    cleared = await shell.read("retention", "clear", *ours)
    assert cleared == await shell.read("org", "show", org["id"])
    assert cleared["retention_days"] is None
    assert (await shell.run("retention", "show", *ours))[1].split()[-1] == "-"


async def test_a_shorter_memory_is_asked_for_twice(box: Shell, database: Database) -> None:
    code, _, err = await box.run("retention", "set", "30", stdin="n\n")

    assert code == 1
    assert "Nothing was done." in err
    assert (await box.read("retention", "show"))["retention_days"] is None


@pytest.mark.parametrize("days", ["thirty", "1.5", "", "-3"])
async def test_what_is_no_number_of_days_is_wrong_usage(
    box: Shell, database: Database, days: str
) -> None:
    code, out, err = await box.run("retention", "set", days, "--yes")

    assert (code, out) == (2, "")
    assert "Usage: " in err


async def test_what_can_not_be_undone_asks_first(box: Shell, database: Database) -> None:
    project = await box.read("project", "create", "lab")

    code, _, err = await box.run("project", "archive", project["id"], stdin="n\n")

    assert code == 1
    assert "Nothing was done." in err
    assert (await box.read("project", "show", project["id"]))["status"] == "active"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"JAN_SERVER": "http://127.0.0.1:1"}, "No key for"),
        ({"JAN_SERVER": "http://127.0.0.1:1", "JAN_ADMIN_KEY": "k"}, "does not answer"),
    ],
)
async def test_a_server_that_can_not_be_asked_is_named(
    tmp_path: Path, named: dict[str, str], words: str
) -> None:
    shell = Shell({**os.environ, **named, "JAN_HOME": str(tmp_path)})

    code, _, err = await shell.run("org", "list")

    assert code == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []
