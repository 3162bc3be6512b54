"""The end of a response that is stored: written down before the client is told of it."""

import asyncio
from typing import Protocol

import structlog

from jan import clock
from jan.caller import Caller
from jan.errors import Conflict, DatabaseUnavailable, JanError
from jan.responses import store
from jan.responses.leases import Lease
from jan.responses.machine import Machine

PATIENCE_S = 3.0
"""How long a database that is away is waited for: as long as a restart of it takes."""
PAUSE_S = 0.1

log = structlog.get_logger("jan.responses")


class Keeper(Protocol):
    """Whoever sees to it that the end of a response is kept, if it is to be."""

    async def keep(self) -> None:
        """Do so, once the machine has ended. Twice is the same as once.

        Raises:
            JanError: it can't be kept, with a sentence for the client.
        """
        ...


class Forgetful:
    """Keeps nothing, as for `store: false`."""

    async def keep(self) -> None:
        """Do nothing."""


class Stored:
    """Keeps one response."""

    def __init__(self, caller: Caller, machine: Machine, lease: Lease) -> None:
        self._caller = caller
        self._machine = machine
        self._lease = lease
        self._is_settled = False

    async def keep(self) -> None:
        """Write the end down. What could not be written is not tried again.

        Raises:
            Conflict: the response was deleted meanwhile, or somebody else has ended it.
            DatabaseUnavailable: the database was away for too long.
        """
        if self._is_settled:
            return
        self._lease.release()
        response_id = self._machine.response.id
        try:
            is_ours = await self._finish()
        except JanError as error:
            self._is_settled = True
            log.warning("response not stored", response=response_id, reason=error.message)
            raise
        self._is_settled = True
        if not is_ours:
            raise Conflict(
                f"The response `{response_id}` was deleted or given up while it was being made."
            )

    async def _finish(self) -> bool:
        until_s = clock.monotonic_s() + PATIENCE_S
        while True:
            try:
                return await store.finish(self._caller, self._machine)
            except DatabaseUnavailable:
                if clock.monotonic_s() >= until_s:
                    raise DatabaseUnavailable(
                        "The response was made, but it could not be stored: the database does not"
                        " answer. Send `store: false` to do without it.",
                        retry_after_s=1,
                    ) from None
            await asyncio.sleep(PAUSE_S)
