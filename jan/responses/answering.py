"""One request whose response is being made: sent as it comes, and kept before its end is told."""

from collections.abc import MutableMapping
from contextlib import aclosing, suppress
from typing import Any

from jan import telemetry
from jan.chat.passage import Passage
from jan.chat.request import ClientGone
from jan.errors import JanError
from jan.inference.chunks import Usage
from jan.responses import response
from jan.responses.keeping import Keeper
from jan.responses.running import Run

Scope = MutableMapping[str, Any]


class Answering:
    """Makes the response, and sends it whole or as events."""

    def __init__(
        self, run: Run, keeper: Keeper, exchange: telemetry.Exchange, passage: Passage
    ) -> None:
        self._run = run
        self._machine = run.machine
        self._keeper = keeper
        self._exchange = exchange
        self._passage = passage
        self._unsent: list[bytes] = []
        """The last events, while they wait for the response to be kept."""

    async def answer(self, scope: Scope) -> None:
        """Make the response and send it, until the end or until cut.

        Raises:
            JanError: refused or failed before the answer began. What is stored has ended so.
        """
        work = self._stream(scope) if self._exchange.is_stream else self._whole(scope)
        try:
            await self._passage.run(work)
        except JanError as error:
            await self._end_early(error)
        finally:
            note_usage(self._exchange, self._machine.usage)

    async def _whole(self, scope: Scope) -> None:
        await self._run.whole(self._exchange, headers=scope["headers"])
        await self._keeper.keep()
        body = response.encode(self._machine.response)
        await self._passage.answer(200, b"application/json", body)

    async def _stream(self, scope: Scope) -> None:
        exchange, passage = self._exchange, self._passage
        events = self._run.stream(exchange, headers=scope["headers"])
        async with aclosing(events):
            async for batch in events:
                if not passage.has_begun:
                    await passage.begin_stream()
                elif exchange.time_to_first_token_ms is None and self._machine.has_output:
                    exchange.time_to_first_token_ms = exchange.elapsed_ms
                if self._machine.is_over:
                    self._unsent = batch
                    break
                await passage.push(batch[0] if len(batch) == 1 else b"".join(batch))
        await passage.end(await self._last_events())

    async def _last_events(self) -> bytes:
        """Keep the response before its last event is sent, or else give another one."""
        try:
            await self._keeper.keep()
        except JanError as error:
            self._note(error)
            self._unsent[-1:] = self._machine.overrule(error)
        last, self._unsent = self._unsent, []
        return b"".join(last)

    async def _end_early(self, error: JanError) -> None:
        """End what was cut or has failed. What had ended by then has not failed."""
        is_gone = isinstance(error, ClientGone)
        if self._unsent:  # all had come, and only the end was not told
            if is_gone:
                self._note(error)
            await self._passage.end(await self._last_events())
            return
        last = self._machine.cut() if is_gone else self._machine.fail(error)
        with suppress(JanError):  # that it failed is told in either case
            await self._keeper.keep()
        if not self._passage.has_begun:
            raise error
        self._note(error)
        await self._passage.end(b"".join(last))

    def _note(self, error: JanError) -> None:
        self._exchange.status, self._exchange.error_code = error.status, error.code


def note_usage(exchange: telemetry.Exchange, usage: Usage | None) -> None:
    """Take down the tokens that the model server has counted, if it has."""
    if usage is not None:
        exchange.prompt_tokens = usage.prompt_tokens or 0
        exchange.completion_tokens = usage.completion_tokens or 0
        exchange.cached_tokens = usage.cached_tokens
