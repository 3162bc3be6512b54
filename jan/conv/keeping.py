"""What becomes of a turn once its answer has ended: it is kept as far as it came, or taken back."""

import asyncio
from collections.abc import Callable

import structlog

from jan import telemetry
from jan.chat.passage import Passage
from jan.chat.request import ClientGone
from jan.conv.answer import End
from jan.conv.turn import Turn
from jan.conversations.items import Item
from jan.errors import Draining, JanError, NotFound

log = structlog.get_logger("jan.conv")


class Keeper:
    """Keeps what was said in one turn."""

    def __init__(
        self,
        turn: Turn,
        items: Callable[[End], list[Item]],
        exchange: telemetry.Exchange,
        passage: Passage,
    ) -> None:
        """`items` writes what has come of the answer, given how it ended."""
        self._turn = turn
        self._items = items
        self._exchange = exchange
        self._passage = passage
        self._keeping: asyncio.Task[None] | None = None

    async def keep(self, end: End) -> None:
        """Add what was said to the conversation: once, and to its end, whoever leaves meanwhile."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._add(end))
        await asyncio.shield(self._keeping)

    async def settle(self, error: JanError) -> None:
        """Keep what has come of an answer that will not be told to its end."""
        is_gone = isinstance(error, ClientGone)
        try:
            if is_gone or self._passage.has_begun:
                is_cut = is_gone or isinstance(error, Draining)
                await self.keep("incomplete" if is_cut else "failed")
            elif self._keeping is None:
                await self._turn.take_back()
        except JanError as trouble:
            log.warning(
                "a turn could not be kept",
                request_id=self._exchange.request_id,
                conversation=self._turn.conversation_id,
                **telemetry.brief(trouble),
            )

    async def _add(self, end: End) -> None:
        try:
            await self._turn.keep(self._items(end))
        except NotFound:
            log.info("a conversation was deleted meanwhile", request_id=self._exchange.request_id)
