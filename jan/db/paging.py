"""One page of rows, found by where the last one ended: as quick at a list's end as at its start."""

from collections.abc import Sequence
from typing import Any

from jan.errors import InvalidRequest
from jan.pages import Wanted


async def fetch(  # noqa: PLR0913 - as many as a list has sides
    connection: Any,
    select: str,
    parameters: Sequence[object],
    wanted: Wanted,
    *,
    alias: str,
    instant: str = "created_at",
    identity: str | None = "id",
) -> list[Any]:
    """Read one row more than a page has, in the order of `wanted.reads_up`.

    `select` is a query with a WHERE and no ORDER BY, in which `alias` names the table whose columns
    `instant` and `identity` order it. What it returns has the one under its own name, and the other
    as `id`. Where `instant` alone orders it, and no two rows share one, `identity` is None.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    condition = ""
    values = list(parameters)
    columns = [f"{alias}.{name}" for name in (instant, identity) if name is not None]
    if wanted.cursor is not None:
        # Within the same list: a foreign id is no cursor.
        found = await connection.fetchrow(
            f"SELECT at_cursor.{instant}, at_cursor.id FROM ({select}) AS at_cursor"  # noqa: S608 - our own names
            f" WHERE at_cursor.id = ${len(values) + 1}",
            *values,
            wanted.cursor,
        )
        if found is None:
            raise InvalidRequest(
                f"`{wanted.cursor_param}` is none of the ids in this list.",
                param=wanted.cursor_param,
            )
        beyond = ">" if wanted.reads_up else "<"
        at = [found[instant], found["id"]][: len(columns)]
        places = ", ".join(f"${len(values) + number}" for number in range(1, len(at) + 1))
        condition = f" AND ({', '.join(columns)}) {beyond} ({places})"
        values += at
    direction = "ASC" if wanted.reads_up else "DESC"
    order = ", ".join(f"{column} {direction}" for column in columns)
    return await connection.fetch(
        f"{select}{condition} ORDER BY {order} LIMIT {wanted.limit + 1}", *values
    )
