"""One attempt at one response in the background: the model is asked, what it says is taken down.

A model server that is away is waited for, and one that dies is asked again, while nothing of the
answer has come: afterwards the response fails with what there is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio
import asyncpg
import structlog

from jan import clock
from jan.auth import lookup
from jan.caller import Caller
from jan.db import scope
from jan.errors import DatabaseUnavailable, Forbidden, JanError, ModelLoading, UpstreamError
from jan.inference.chat import Chat
from jan.inference.upstream import Refused
from jan.permissions import Scope
from jan.responses import answering, beginning, log, news, response, store, tools, translation
from jan.responses.carrying import Carriers
from jan.responses.compaction import Seal
from jan.responses.leases import Lease
from jan.responses.log import Log
from jan.responses.machine import Machine
from jan.responses.reading import Asked
from jan.responses.running import Run
from jan.responses.takeover import Remains
from jan.responses.translation import Prompt
from jan.telemetry import Exchange

T = TypeVar("T")

PATH = "/v1/responses"
MAX_CALLS = 3
"""To a model server that answers none of them to its end."""
RETRY_S = 0.5
"""Before the model server, or the database, is asked again. Doubled each time."""
MAX_RETRY_S = 5.0
END_PATIENCE_S = 60.0
"""For the database to come back, when all that is left to do is to write the end down."""
LEFT = 499
"""Status, for the books, of a request that was broken off because nobody wants its answer."""

STOPPED = "The server was stopped while it made the response."

GIVE_BACK = """
UPDATE response SET lease_expires_at = now()
WHERE id = $1 AND attempt = $2 AND status = 'in_progress'
"""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too

slog = structlog.get_logger("jan.responses")


class TookTooLong(JanError):
    """A response was not made within `background_timeout_s`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A response that is ours to make."""

    id: str
    attempt: int
    is_stream: bool
    """Whether its events are kept when it has ended."""
    asked: Asked
    begun: response.Response
    caller: Caller
    """As they were when they asked."""
    remains: Remains
    """What earlier attempts have told."""


class Making:
    """One attempt."""

    def __init__(  # noqa: PLR0913 - as many as it has neighbours
        self,
        chat: Chat,
        seal: Seal,
        record: Callable[[Exchange], None],
        claim: Claim,
        *,
        carriers: Carriers | None,
        timeout_s: float,
    ) -> None:
        self._chat = chat
        self._seal = seal
        self._record = record
        self._claim = claim
        self._carriers = carriers
        self._timeout_s = timeout_s
        self._begun = response.encode(claim.begun)
        self._log = Log(claim.id, claim.attempt, claim.remains.next_number)
        self._machine = self._new_machine(
            claim.remains.next_number, has_begun=claim.remains.has_begun
        )

    async def run(self, lease: Lease) -> None:
        """Make the response, or as much of it as can be. `end` writes down what became of it."""
        writing = asyncio.create_task(self._log.run(lease))
        try:
            self._log.add(self._machine.begin())
            with anyio.move_on_after(self._timeout_s) as limit:
                await self._make()
            if limit.cancelled_caught:
                words = f"The response was not complete after {self._timeout_s:g} seconds."
                self._log.add(self._machine.fail(TookTooLong(words)))
        except JanError as error:
            self._log.add(self._machine.fail(error))
        finally:
            writing.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([writing])
        if not writing.cancelled():
            writing.result()

    async def end(self) -> None:
        """Write the end down, if it is still ours to write."""
        await _patiently(self._write_end, patience_s=END_PATIENCE_S)

    async def give_back(self) -> None:
        """Leave the response to others, at once. If it was told in part, it has failed."""
        claim = self._claim
        if claim.is_stream and self._machine.has_output:
            self._log.add(self._machine.fail(JanError(STOPPED)))
            await self._write_end()
            return
        async with scope.system() as connection:
            await connection.execute(GIVE_BACK, claim.id, claim.attempt)

    async def _make(self) -> None:
        caller = await _patiently(self._caller)
        prompt = await _patiently(self._prompt)
        calls, retry_s = 0, RETRY_S
        while True:
            try:
                await self._call(prompt, caller)
            except ModelLoading:
                pass
            except JanError as error:
                calls += 1
                if calls == MAX_CALLS or self._machine.has_output or not _passes(error):
                    raise
                slog.warning("response is begun again", id=self._claim.id, reason=error.message)
            else:
                return
            await anyio.sleep(retry_s)
            retry_s = min(retry_s * 2, MAX_RETRY_S)
            self._machine = self._new_machine(self._machine.next_number, has_begun=True)

    async def _caller(self) -> Caller:
        """Look whether who asked may still have it done, and with which models.

        Raises:
            Forbidden: not any more.
        """
        found = await lookup.again(self._claim.caller)
        if found.caller is None:
            raise Forbidden(f"It was not made, because it may not be any more: {found.refusal}")
        found.caller.require(Scope.RESPONSES_WRITE)
        return found.caller

    async def _prompt(self) -> Prompt:
        """Find all that the model is to read. What was there when it was asked for may be gone."""
        asked, caller = self._claim.asked, self._claim.caller
        said = await beginning.read(caller, asked.create, asked.input, self._seal)
        return translation.prompt(replace(asked, input=said.told), said.told_before)

    async def _call(self, prompt: Prompt, caller: Caller) -> None:
        claim, machine = self._claim, self._machine
        create = claim.asked.create
        exchange = Exchange(claim.id, "POST", PATH, caller=caller, model=create.model)
        exchange.is_stream = claim.is_stream
        exchange.status, exchange.error_code = LEFT, "cancelled"
        try:
            self._chat.model(create.model, caller)
            carrying = self._carriers and self._carriers.of(caller, claim.id)
            run = Run(self._chat, create, prompt, machine, carrying)
            async with aclosing(run.stream(exchange)) as batches:
                async for made in batches:
                    self._log.add(made)
                    exchange.response_bytes += sum(map(len, made))
                    if exchange.time_to_first_token_ms is None and machine.has_output:
                        exchange.time_to_first_token_ms = exchange.elapsed_ms
            exchange.status, exchange.error_code = 200, None
        except JanError as error:
            exchange.status, exchange.error_code = error.status, error.code
            raise
        finally:
            if exchange.error_code != ModelLoading.code:  # else nobody was asked
                self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        answering.note_usage(exchange, self._machine.usage)
        exchange.duration_ms = exchange.elapsed_ms
        self._record(exchange)
        slog.info(
            "response",
            id=exchange.request_id,
            model=exchange.model,
            status=exchange.status,
            error=exchange.error_code,
            ms=round(exchange.duration_ms, 1),
            prompt_tokens=exchange.prompt_tokens,
            completion_tokens=exchange.completion_tokens,
        )

    async def _write_end(self) -> None:
        claim = self._claim
        async with scope.of(claim.caller) as connection:
            if not await store.finish(claim.caller, self._machine, attempt=claim.attempt):
                slog.info("response left", id=claim.id, attempt=claim.attempt)
                return
            if claim.is_stream:
                await self._log.write_rest(connection)
            else:
                await log.forget(connection, claim.id)
            await news.tell_end(connection, claim.id)

    def _new_machine(self, next_number: int, *, has_begun: bool) -> Machine:
        create = self._claim.asked.create
        return Machine(
            response.read(self._begun),
            create,
            tools.read(create.tools, create.tool_choice),
            next_number=next_number,
            has_begun=has_begun,
        )


def _passes(error: JanError) -> bool:
    """Tell whether asking the model server again may help."""
    if isinstance(error, Refused):
        return error.status >= 500 or error.status == 429  # noqa: PLR2004
    return isinstance(error, UpstreamError)


async def _patiently(ask: Callable[[], Awaitable[T]], *, patience_s: float = float("inf")) -> T:
    """Ask the database, again and again while it is away."""
    since_s, retry_s = clock.monotonic_s(), RETRY_S
    while True:
        try:
            return await ask()
        except TROUBLE:
            if clock.monotonic_s() - since_s > patience_s:
                raise
        await anyio.sleep(retry_s)
        retry_s = min(retry_s * 2, MAX_RETRY_S)
