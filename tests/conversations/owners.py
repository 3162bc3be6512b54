"""People who keep conversations, and what they say in them."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from jan import permissions
from jan.caller import Caller
from jan.conversations import items
from jan.conversations.items import Item
from jan.conversations.tables import new_conversation_id
from tests.conftest import execute
from tests.tenants import Person


def caller_of(person: Person) -> Caller:
    """Tell who services take somebody for, in their own project."""
    return Caller(
        kind="user",
        scopes=permissions.PROJECT_ROLES["owner"],
        project_id=person.own_project_id,
        is_at_home=True,
        user_id=person.id,
    )


def user(text: str, **more: Any) -> Item:
    """Write a message of the user's, ready to be kept."""
    return items.with_id({"role": "user", "content": text, **more})


def texts(said: Sequence[Item]) -> list[str]:
    """Tell what messages say, in their order."""
    return [item["content"][0]["text"] for item in said]


async def new_conversation(caller: Caller, **columns: Any) -> str:
    """Put an empty conversation into the open database."""
    conversation_id = new_conversation_id()
    values = {
        "id": conversation_id,
        "project_id": caller.project_id,
        "owner_id": caller.owner_id,
        **columns,
    }
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await execute(
        f"INSERT INTO conversation ({', '.join(values)}) VALUES ({places})", *values.values()
    )
    return conversation_id


async def rows_read(connection: Any, table: str = "conversation_item") -> int:
    """Tell how many rows of a table the connection has read, in any way. Differences count."""
    return await connection.fetchval(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = $1",
        table,
    )


async def analyze(owner_url: str) -> None:
    """Let the database learn what is in it, as it does by itself within a minute."""
    connection = await asyncpg.connect(owner_url)
    await connection.execute("ANALYZE")
    await connection.close()
