"""PostgreSQL's notifications, for as long as a process lives.

Source: https://www.postgresql.org/docs/18/sql-listen.html
"""

from collections.abc import Callable
from typing import Never

import anyio
import asyncpg
import structlog

from jan.db.pool import CONNECT_TIMEOUT_S
from jan.db.trouble import TROUBLE

RETRY_S = 0.25
MAX_RETRY_S = 2.0
PROBE_EVERY_S = 0.4
"""Between two signs of life: a server that vanished or hangs without a word is noticed by this."""
PROBE_TIMEOUT_S = 0.4
"""For each of them. Both together are less than the second in which a revocation has to arrive."""

log = structlog.get_logger()


async def listen(
    dsn: str,
    channel: str,
    on_message: Callable[[str], None],
    on_state: Callable[[bool], None],
) -> Never:
    """Hand every notification of `channel` on, on a connection of its own, for ever.

    `on_state(True)`: from now on nothing is missed. `on_state(False)`: what is notified now is
    lost, and whoever keeps copies must look for itself. The connection must be direct: a pooler in
    transaction mode drops LISTEN.
    """
    retry_s = RETRY_S

    def begin() -> None:
        nonlocal retry_s
        retry_s = RETRY_S
        on_state(True)

    while True:
        try:
            connection: asyncpg.Connection = await asyncpg.connect(
                dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "jan listen"}
            )
            try:
                await _relay(connection, channel, on_message, begin)
            finally:
                on_state(False)
                connection.terminate()
        except TROUBLE as error:  # a server that is a standby for now refuses LISTEN, for one
            if retry_s == RETRY_S:  # once, not at every try
                log.warning("no notifications", channel=channel, reason=str(error) or repr(error))
        await anyio.sleep(retry_s)
        retry_s = min(retry_s * 2, MAX_RETRY_S)


async def _relay(
    connection: asyncpg.Connection,
    channel: str,
    on_message: Callable[[str], None],
    on_begin: Callable[[], None],
) -> Never:
    ended = anyio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    await connection.add_listener(channel, lambda *got: on_message(str(got[3])))
    on_begin()
    while True:
        with anyio.move_on_after(PROBE_EVERY_S):
            await ended.wait()
        if ended.is_set():
            raise ConnectionResetError("the server closed the connection")
        await connection.execute("SELECT 1", timeout=PROBE_TIMEOUT_S)
