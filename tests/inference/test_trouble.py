"""Why an engine is away gets from one process to another, and is forgotten when it is there."""

from pathlib import Path

import anyio

from jan.inference import trouble
from jan.inference.catalog import Catalog
from jan.inference.client import Client
from jan.inference.upstream import Upstream


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
    client = Client(f"unix://{home}/http.sock", connect_timeout_s=1)
    reasons = iter([None, "It keeps dying."])
    catalog = Catalog(Upstream(client, api_key=None, images=None), why_away=lambda: next(reasons))

    errors: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(catalog.run)
        with anyio.fail_after(5):
            while len(errors) < 2:
                if catalog.health.last_error not in (None, *errors):
                    errors.append(str(catalog.health.last_error))
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert errors == ["nobody listens on its socket", "It keeps dying."]
