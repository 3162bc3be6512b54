"""Why an engine is away gets from one process to another, and is forgotten when it is there."""

import asyncio
from pathlib import Path

from jan.inference import trouble
from jan.inference.checks import Checks
from jan.inference.fleet import Fleet
from jan.inference.registry import Registry
from jan.inference.watch import Alone
from tests.gateways import endpoint, until


def test_the_last_reason_is_told_in_one_line_until_it_is_taken_back(home: Path) -> None:
    socket = home / "http.sock"

    assert trouble.told(socket) is None
    trouble.tell(socket, "It died:\n  out of memory")
    trouble.tell(socket, "It died again:\n  " + "x" * 10_000)
    told = trouble.told(socket)
    trouble.clear(socket)
    trouble.clear(socket)

    assert told
    assert told.startswith("It died again: xxx")
    assert len(told) == trouble.MAX_CHARS
    assert trouble.told(socket) is None
    assert list(home.iterdir()) == []


def test_what_can_not_be_told_harms_nobody(home: Path) -> None:
    trouble.tell(home / "absent" / "http.sock", "It died.")

    assert trouble.told(home / "absent" / "http.sock") is None
    assert trouble.told(None) is None


async def test_who_knows_better_why_the_model_server_is_away_is_believed(home: Path) -> None:
    fleet = Fleet()
    checks = Checks(fleet, Alone(), interval_s=5, timeout_s=5, connect_timeout_s=1)
    checks.apply(Registry([endpoint(f"unix://{home}/http.sock")]))
    looking = asyncio.create_task(checks.run())

    await until(lambda: checks.standing()["last_error"] == "nobody listens on its socket")
    trouble.tell(home / "http.sock", "It keeps dying.")
    await until(lambda: checks.standing()["last_error"] == "It keeps dying.")

    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
