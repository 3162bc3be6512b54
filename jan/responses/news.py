"""What happens to responses elsewhere, told by PostgreSQL: one connection a process listens.

A notification may be lost with that connection, so whoever waits looks for itself now and then:
seldom while we listen, often while we do not.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, Never, cast

from jan.db.listen import listen

CHANNEL = "jan_response"
HEARD_POLL_S = 10.0
"""Between two looks while notifications arrive."""
UNHEARD_POLL_S = 0.5
"""Between two looks while none would."""

Word = Literal["more", "end"]
"""There are more events; or the response has ended, by whomever."""
Hear = Callable[[Word], None]


async def tell_end(connection: Any, response_id: str) -> None:
    """Tell all processes that a response has ended, once the connection's transaction has."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{response_id} end")


class News:
    """Calls those who want to know of a response. Without `run`, nobody is called."""

    def __init__(self) -> None:
        self._hearers: dict[str, set[Hear]] = {}
        self._is_listening = False

    @property
    def poll_s(self) -> float:
        """How long to wait for a call before looking."""
        return HEARD_POLL_S if self._is_listening else UNHEARD_POLL_S

    async def run(self, dsn: str) -> Never:
        """Listen, for ever. The connection must be direct: see `jan.db.listen`."""
        return await listen(dsn, CHANNEL, self._on_message, self._on_state)

    @contextmanager
    def hearing(self, response_id: str, hear: Hear) -> Generator[None]:
        """Have `hear` called, during the block, whenever something happens to a response."""
        hearers = self._hearers.setdefault(response_id, set())
        hearers.add(hear)
        try:
            yield
        finally:
            hearers.discard(hear)
            if not hearers and self._hearers.get(response_id) is hearers:
                del self._hearers[response_id]

    def _on_message(self, payload: str) -> None:
        response_id, _, word = payload.partition(" ")
        for hear in tuple(self._hearers.get(response_id, ())):
            hear(cast("Word", word))

    def _on_state(self, is_listening: bool) -> None:
        """Have everybody look: what was told in between is lost, or nothing will be told now."""
        self._is_listening = is_listening
        for hearers in tuple(self._hearers.values()):
            for hear in tuple(hearers):
                hear("end")
