"""Nodes: the machines whose `jan serve` runs engines, and whether they are there."""

import asyncio
import difflib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from jan import clock, pages
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.fleet import node as this_node
from jan.fleet.deployed import NodeObject
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.runner import prepare
from jan.wire import seconds

SEEN_S = 20.0
"""A node tells every few seconds that it is there. One that has not for so long is not."""

SELECT = """
SELECT n.name AS id, n.name, n.hardware, n.started_at, n.seen_at FROM node AS n WHERE true
"""
NAMES = "SELECT name, seen_at FROM node ORDER BY name"


@dataclass(frozen=True, slots=True)
class Here:
    """Where this process runs, for what it can know of that node alone."""

    home: Path

    @property
    def node(self) -> str:
        """Name of the node."""
        return this_node.name(self.home)

    async def require_model(self, node: str, model: str) -> None:
        """Check that a node has a model, if it is this one: others find out by themselves.

        Raises:
            NotFound: it has not. What is spelt like it is named.
            InvalidRequest: that is no name.
        """
        if node != self.node:
            return
        try:
            await asyncio.to_thread(prepare.require, self.home, model)
        except NotFound as error:
            raise NotFound(f"{error.message} {error.hint}", param="model") from None


async def page(caller: Caller, wanted: Wanted) -> Page[NodeObject]:
    """List nodes by their names.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.reading_all() as connection:
        rows = await paging.fetch(
            connection, SELECT, [], wanted, alias="n", instant="name", identity=None
        )
    return pages.page([_shown(row) for row in rows], wanted)


async def choose(connection: Any, name: str | None, *, here: Here) -> str:
    """Find the node that is meant: the named one, the one that is asked, or the only one.

    Raises:
        NotFound: there is no node of that name.
        InvalidRequest: none is named, and there are several.
        Unavailable: it has not been seen for long, or there is none at all.
    """
    seen = {row["name"]: row["seen_at"] for row in await connection.fetch(NAMES)}
    if name is not None:
        if name not in seen:
            close = difflib.get_close_matches(name, seen, n=1)
            more = f" Did you mean `{close[0]}`?" if close else ""
            raise NotFound(f"There is no node `{name}`.{more}", param="node")
        require_alive(name, seen[name])
        return name
    if here.node in seen and is_alive(seen[here.node]):
        return here.node
    alive = [name for name, seen_at in seen.items() if is_alive(seen_at)]
    if len(alive) == 1:
        return alive[0]
    if alive:
        raise InvalidRequest(f"Name one of the nodes: {', '.join(alive)}.", param="node")
    raise Unavailable("No `jan serve` that runs engines is there.")


def require_alive(name: str, seen_at: datetime) -> None:
    """Raise Unavailable where nobody would do what is asked."""
    if not is_alive(seen_at):
        raise Unavailable(
            f"The node `{name}` was last seen at {seen_at:%Y-%m-%d %H:%M:%S} UTC: start"
            " `jan serve` there."
        )


def is_alive(seen_at: datetime) -> bool:
    """Whether a node that was seen then is there."""
    return clock.now() - seen_at < timedelta(seconds=SEEN_S)


def _shown(row: Any) -> NodeObject:
    return NodeObject(
        id=row["name"],
        hardware=msgspec.json.decode(row["hardware"], type=dict[str, Any]),
        started_at=seconds(row["started_at"]),
        seen_at=seconds(row["seen_at"]),
        is_alive=is_alive(row["seen_at"]),
    )
