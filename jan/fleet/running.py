"""What a node's supervisor writes of itself, and reads of what it is to do.

All of it is written as it is, whenever it differs from what the rows say: so nothing is lost while
the database is away, and what another life of the supervisor left is put right.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from jan import clock, telemetry
from jan.db import scope
from jan.deployments import Deployment
from jan.fleet import deployed
from jan.fleet.deployed import OPTIONS, Status, Wish
from jan.fleet.leader import DOUBT
from jan.fleet.tables import new_deployment_id, new_provider_id
from jan.inference.registry import Served

NODE = """
INSERT INTO node (name, hardware, started_at, seen_at) VALUES ($1, $2, $3, $3)
ON CONFLICT (name) DO UPDATE SET hardware = $2, started_at = $3, seen_at = $3
"""
SEEN = """
UPDATE node SET seen_at = $2, hardware = COALESCE($3::jsonb, hardware) WHERE name = $1
"""
PROVIDER = "SELECT id FROM provider WHERE kind = 'runner' AND node = $1 ORDER BY id LIMIT 1"
NEW_PROVIDER = """
INSERT INTO provider (id, name, kind, node, managed_by) VALUES ($1, $2, 'runner', $3, 'settings')
"""
_COLUMNS = ", ".join(OPTIONS)
_PLACES = ", ".join(f"${number}" for number in range(4, 4 + len(OPTIONS)))
_NEW = ", ".join(f"{name} = excluded.{name}" for name in OPTIONS)
SAY = f"""
INSERT INTO deployment (id, node, model, {_COLUMNS}, managed_by)
VALUES ($1, $2, $3, {_PLACES}, 'settings')
ON CONFLICT (node, model) DO UPDATE SET {_NEW}, managed_by = 'settings', wanted = 'loaded',
                                        updated_at = now()
"""  # noqa: S608 - our own names
UNSAY = """
DELETE FROM deployment WHERE node = $1 AND managed_by = 'settings' AND model <> ALL ($2)
"""
ORDERS = f"""
SELECT id, model, {_COLUMNS}, wanted, generation, managed_by, status, message, share
FROM deployment WHERE node = $1 ORDER BY created_at, id
"""  # noqa: S608 - our own names
ENGINES = """
SELECT id, deployment_id, generation, url, max_running, is_draining, served
FROM endpoint WHERE provider_id = $1
"""
REMOVE = "DELETE FROM endpoint WHERE id = ANY ($1)"
ADD = """
INSERT INTO endpoint (id, provider_id, deployment_id, generation, url, node, max_running,
                      is_draining, served, state)
SELECT $1, $2, d.id, $4, $5, $6, $7, $8, $9, $10 FROM deployment AS d WHERE d.id = $3
"""
CHANGE = """
UPDATE endpoint SET generation = $2, max_running = $3, is_draining = $4 WHERE id = $1
"""
WELL = """
UPDATE endpoint
SET state = 'healthy', since = CASE WHEN state = 'healthy' THEN since ELSE $2 END,
    last_error = NULL, served = COALESCE($3::jsonb, served)
WHERE id = $1
"""
TELL = """
UPDATE deployment SET status = $4, message = $5, share = $6, updated_at = $7
WHERE id = $1 AND generation = $2 AND wanted = $3
"""
REST = """
UPDATE deployment SET wanted = 'idle', updated_at = $3
WHERE id = $1 AND generation = $2 AND wanted = 'loaded'
"""

log = structlog.get_logger("jan.fleet")


@dataclass(frozen=True)
class Order:
    """A deployment, as the supervisor needs it."""

    id: str | None
    """None: what the settings say, before the database has been asked."""
    said: Deployment
    wanted: Wish = "loaded"
    generation: int = 1
    managed_by: str = "settings"
    status: Status = "pending"
    message: str = ""
    share: float | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it another order."""
        return self.id, self.generation, self.wanted, self.said

    @property
    def count(self) -> int:
        """How many engines there are to be."""
        return self.said.instances if self.wanted == "loaded" else 0


@dataclass(frozen=True)
class Engine:
    """What an endpoint's row is to say."""

    id: str
    deployment_id: str
    generation: int
    url: str
    max_running: int | None
    is_draining: bool
    is_ready: bool = False
    served: tuple[Served, ...] = ()
    """What it lists, if it was asked."""


class Registrar:
    """Writes the rows of one node. In between, the database may go away and come back."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._provider_id = ""
        self._served: dict[str, str] = {}
        """What the engines of each deployment listed last: they are asked for while none runs."""

    async def begin(self, hardware: Mapping[str, Any], said: Sequence[Deployment]) -> None:
        """Tell that the node is there, and what its settings say. Operators' own stays."""
        async with scope.system() as connection:
            document = msgspec.json.encode(hardware).decode()
            await connection.execute(NODE, self.node, document, clock.now())
            self._provider_id = await connection.fetchval(PROVIDER, self.node) or ""
            if not self._provider_id:
                self._provider_id = new_provider_id()
                name = provider_name(self.node)
                await connection.execute(NEW_PROVIDER, self._provider_id, name, self.node)
            await connection.execute(UNSAY, self.node, [each.name for each in said])
            for each in said:
                values = (new_deployment_id(), self.node, each.name, *deployed.columns(each))
                await connection.execute(SAY, *values)

    async def seen(self, hardware: Mapping[str, Any] | None = None) -> bool:
        """Tell that the node is there, and what it has. False: there is no row of it (any more)."""
        document = None if hardware is None else msgspec.json.encode(hardware).decode()
        async with scope.system() as connection:
            done = await connection.execute(SEEN, self.node, clock.now(), document)
        return done == "UPDATE 1"

    async def orders(self) -> list[Order]:
        """Read what is to run here."""
        async with scope.system() as connection:
            rows = await connection.fetch(ORDERS, self.node)
        return [order for row in rows if (order := _order(row)) is not None]

    async def write(self, engines: Sequence[Engine]) -> list[str]:
        """Make the endpoints' rows say this. Returns the URLs of those that are gone."""
        wanted = {engine.id: engine for engine in engines}
        async with scope.system() as connection:
            rows = {row["id"]: row for row in await connection.fetch(ENGINES, self._provider_id)}
            for row in rows.values():
                if row["deployment_id"] is not None and row["served"] != "[]":
                    self._served[row["deployment_id"]] = row["served"]
            gone = [row["url"] for name, row in rows.items() if name not in wanted]
            if gone:
                await connection.execute(REMOVE, [name for name in rows if name not in wanted])
            for name, engine in wanted.items():
                if name not in rows:
                    served = _listed(engine.served) or self._served.get(engine.deployment_id, "[]")
                    await connection.execute(
                        ADD,
                        *(name, self._provider_id, engine.deployment_id, engine.generation),
                        *(engine.url, self.node, engine.max_running, engine.is_draining, served),
                        "healthy" if engine.is_ready else "unknown",
                    )
                elif _differs(rows[name], engine):
                    values = (engine.generation, engine.max_running, engine.is_draining)
                    await connection.execute(CHANGE, name, *values)
        return gone

    async def well(self, endpoint_id: str, served: Sequence[Served] = ()) -> None:
        """Tell that an engine is ready: who gave it up looks again at once."""
        async with scope.system() as connection:
            await connection.execute(WELL, endpoint_id, clock.now(), _listed(served))
            await connection.execute("SELECT pg_notify($1, $2)", DOUBT, endpoint_id)

    async def doubt(self, endpoint_id: str) -> None:
        """Have an engine looked at that has ended."""
        async with scope.system() as connection:
            await connection.execute("SELECT pg_notify($1, $2)", DOUBT, endpoint_id)

    async def tell(self, order: Order, status: Status, message: str, share: float | None) -> None:
        """Tell how far a deployment is, unless something else is wanted of it by now."""
        async with scope.system() as connection:
            await connection.execute(
                *(TELL, order.id, order.generation, order.wanted),
                *(status, message, share, clock.now()),
            )

    async def rest(self, order: Order) -> None:
        """Unload a deployment until somebody asks for it."""
        async with scope.system() as connection:
            await connection.execute(REST, order.id, order.generation, clock.now())


def provider_name(node: str) -> str:
    """Name the provider of a node's engines: by its host, and what no other node has."""
    host = re.sub(r"[^a-z0-9.-]+", "-", node.partition(":")[0].lower())[:40]
    return f"runner-{host}-{hashlib.sha256(node.encode()).hexdigest()[:8]}"


def _order(row: Any) -> Order | None:
    """Read a row. One that another version of Jan wrote, and that makes no sense, is no order."""
    try:
        said = deployed.said(row)
    except ValueError as error:
        log.warning("a deployment can't be read", model=row["model"], **telemetry.brief(error))
        return None
    return Order(
        id=row["id"],
        said=said,
        wanted=row["wanted"],
        generation=row["generation"],
        managed_by=row["managed_by"],
        status=row["status"],
        message=row["message"],
        share=row["share"],
    )


def _differs(row: Any, engine: Engine) -> bool:
    return (row["generation"], row["max_running"], row["is_draining"]) != (
        engine.generation,
        engine.max_running,
        engine.is_draining,
    )


def _listed(served: Sequence[Served]) -> str | None:
    """Write what an engine lists, if that is known."""
    return msgspec.json.encode(served).decode() if served else None
