"""Images run as pods do: no root, no rights, and nothing to write to but volumes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from jan.db import dsn
from tests.frozen.conftest import run
from tests.helm import pods
from tests.helm.test_pods import objects
from tests.images.conftest import ROOT, Image, command, running
from tests.images.test_dockerfiles import last_stage
from tests.serving import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USER = 10001
HOMES = ("HOME", "JAN_HOME")
API = "http://127.0.0.1:8080"
STATUS = "print(open('/proc/self/status').read())"


@pytest.fixture
def volume(gateway: Image, tmp_path: Path) -> Path:
    """An empty volume, as its first user gets it."""
    os.chown(tmp_path, USER, USER)
    return tmp_path


def test_it_says_what_it_is(gateway: Image) -> None:
    said = run(command(gateway, ["--version"], {}))

    assert said.stderr == ""
    assert "(gateway, commit " in said.stdout


def test_it_has_no_rights(gateway: Image) -> None:
    said = run(command(gateway, ["-c", STATUS], {})).stdout
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)

    assert status["Uid"].split() == ["10001"] * 4
    assert status["Groups"].split() == []
    assert (status["NoNewPrivs"], int(status["CapPrm"], 16), int(status["CapEff"], 16)) == (
        *("1", 0, 0),
    )


async def test_all_of_jan_starts_answers_and_ends(gateway: Image, volume: Path) -> None:
    """As `docker run` does it, PostgreSQL included."""
    said = dict(last_stage(ROOT / "images/gateway.Dockerfile"))["HEALTHCHECK"]
    health = json.loads(said.partition("CMD ")[2])
    async with running(gateway, gateway.config["Cmd"], {"/var/lib/jan": volume}) as container:
        await container.until(gateway, f"{API}/livez")
        checked = container.run(gateway, *health)
        key = container.run(gateway, "jan", "key", "create", "--name", "first")
        family = container.first.children(recursive=True)

        assert checked.returncode == 0, checked.stderr
        assert key.stdout.startswith("sk-jan-"), key.stderr
        assert [each for each in family if each.status() == psutil.STATUS_ZOMBIE] == []
        assert await container.stopped() == 0


async def test_what_the_chart_starts_starts(
    gateway: Image, postgres: Path, empty_database_url: str, tmp_path: Path
) -> None:
    """With the environment, files, user and volumes of pods: migration, then gateway and worker."""
    found = objects(tmp_path, postgres, empty_database_url)
    job = next(each for each in found if each["kind"] == "Job")
    socket = dsn.socket_folder(postgres)
    socket.chmod(0o711)  # a database elsewhere is reached by everybody
    (socket / dsn.SOCKET_NAME).chmod(0o777)

    def pod(maker: Mapping[str, Any], name: str) -> tuple[pods.Container, dict[str, Path]]:
        made = pods.container(found, maker, tmp_path / name, is_apart=True)
        assert made.arguments[0] == gateway.config["Entrypoint"][0]
        assert made.environ.items() >= {name: gateway.environ[name] for name in HOMES}.items()
        volumes = {place: made.root / place.lstrip("/") for place in made.mounts}
        for volume in volumes.values():  # as those of a group are
            os.chown(volume, 0, USER)
            volume.chmod(0o2777)
        return made, {**volumes, str(socket): socket}

    migration, volumes = pod(job, "migration")
    done = run(command(gateway, migration.arguments[1:], volumes, migration.environ))
    assert done.returncode == 0, done.stderr

    for name in ("gateway", "worker"):
        made, volumes = pod(pods.find(found, "Deployment", f"jan-{name}"), name)
        async with running(gateway, made.arguments[1:], volumes, made.environ) as container:
            if name == "gateway":
                await container.until(gateway, f"{API}/livez")
            else:
                await until(lambda: any("doing jobs" in line for line in container.lines))
            assert await container.stopped() == 0, container.lines
