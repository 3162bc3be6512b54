"""One response being made: the model server is asked, and what it says goes through the machine.

Whoever runs it decides what becomes of the events, and of an end before the end: nothing is sent or
stored here, so it serves streams, whole answers and work in the background alike.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from jan.errors import ContextLengthExceeded, JanError
from jan.inference.chat import Chat, Headers
from jan.inference.chunks import Chunk
from jan.responses import truncation
from jan.responses.loop import Loop, Tools
from jan.responses.machine import Machine
from jan.responses.schemas import Create
from jan.responses.translation import Prompt
from jan.telemetry import Exchange

PARAMS = {
    "messages": "input",
    "input_text": "input",
    "input_tokens": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
"""What the parameters that a model server finds fault with are called in requests for responses."""


class Run:
    """Makes the response of one machine, once."""

    def __init__(  # noqa: PLR0913 - as many as it has neighbours
        self,
        chat: Chat,
        create: Create,
        prompt: Prompt,
        machine: Machine,
        tools: Tools | None = None,
        *,
        params: Mapping[str, str] = PARAMS,
    ) -> None:
        """`tools` carry out what the request leaves to Jan.

        `params` are what the client calls parameters that the model server finds fault with.
        """
        self.machine = machine
        self._chat = chat
        self._create = create
        self._prompt = prompt
        self._params = params
        self._tries = 0
        self._session = create.prompt_cache_key or create.conversation_id
        self._loop: Loop | None = None
        if tools is not None and prompt.toolset.is_carried_out_here:
            self._loop = Loop(machine, create, prompt, tools)

    async def stream(
        self, exchange: Exchange, *, headers: Headers = ()
    ) -> AsyncGenerator[list[bytes]]:
        """Yield events: those of the beginning once the model server has taken the request.

        The last list ends with the last event. Leaving, or cancelling, aborts generation and
        leaves the machine as it is: `cut`, `cancel` or `fail` ends it.

        Raises:
            JanError: as `Chat.stream`. After the first events, end the response with `fail`.
        """
        machine, loop = self.machine, self._loop
        if loop is None:
            async with self._opened(exchange, headers) as batches:
                yield machine.begin()
                async for made in self._fed(batches):
                    yield made
            yield machine.finish()
            return
        yield machine.begin()
        async with aclosing(loop.begin()) as beginning:
            async for made in beginning:
                yield made
        while True:
            async with self._opened(exchange, headers) as batches:
                async for made in self._fed(batches):
                    yield made
            if made := machine.end_round():
                yield made
            waits_for_client = machine.waits_for_client
            is_asked_again = loop.is_asked_again
            if is_asked_again:
                async with aclosing(loop.carry_out()) as outcomes:
                    async for made in outcomes:
                        yield made
            if waits_for_client or not is_asked_again:
                break
        yield machine.finish()

    async def _fed(self, batches: AsyncIterator[Sequence[Chunk]]) -> AsyncGenerator[list[bytes]]:
        machine = self.machine
        async for batch in batches:
            if len(batch) == 1:
                made = machine.feed(batch[0])
            else:
                made = [event for chunk in batch for event in machine.feed(chunk)]
            if made:
                yield made

    async def whole(self, exchange: Exchange, *, headers: Headers = ()) -> None:
        """Make all of the response at once, without events. Raises as `stream`."""
        if self._loop is not None:
            async with aclosing(self.stream(exchange, headers=headers)) as events:
                async for _ in events:
                    pass
            return
        while True:
            try:
                answer = await self._chat.whole(
                    self._prompt.body, exchange, headers=headers, session=self._session
                )
                break
            except JanError as error:
                self._shorten(error)
        self.machine.feed(answer)
        self.machine.finish()

    @asynccontextmanager
    async def _opened(
        self, exchange: Exchange, headers: Headers
    ) -> AsyncGenerator[AsyncIterator[Sequence[Chunk]]]:
        async with AsyncExitStack() as stack:
            while True:
                try:
                    batches = await stack.enter_async_context(
                        self._chat.stream(
                            self._prompt.body, exchange, headers=headers, session=self._session
                        )
                    )
                    break
                except JanError as error:
                    self._shorten(error)
            yield batches

    def _shorten(self, error: JanError) -> None:
        """Drop the oldest messages if they are too many, and may be dropped. Raise otherwise."""
        self._tries += 1
        if (
            error.code != ContextLengthExceeded.code
            or self._create.truncation != "auto"
            or self._tries >= truncation.MAX_TRIES
        ):
            name = (error.param or "").partition("[")[0]  # whose places are not those of `input`
            error.param = self._params.get(name, error.param)
            raise error
        share = truncation.share_to_keep(error, self._create.max_output_tokens)
        messages = truncation.shortened(self._prompt.messages, share)
        if messages is None:
            raise error
        self._prompt.body["messages"] = messages
