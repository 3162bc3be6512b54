"""One response being made: the model server is asked, and what it says goes through the machine.

Whoever runs it decides what becomes of the events, and of an end before the end: nothing is sent or
stored here, so it serves streams, whole answers and work in the background alike.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from jan.errors import ContextLengthExceeded, JanError
from jan.inference.chat import Chat, Headers
from jan.inference.chunks import Chunk
from jan.responses import truncation
from jan.responses.machine import Machine
from jan.responses.schemas import Create
from jan.responses.translation import Prompt

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

    def __init__(self, chat: Chat, create: Create, prompt: Prompt, machine: Machine) -> None:
        self.machine = machine
        self._chat = chat
        self._create = create
        self._prompt = prompt
        self._tries = 0

    async def stream(
        self, *, request_id: str, headers: Headers = ()
    ) -> AsyncGenerator[list[bytes]]:
        """Yield events: those of the beginning once the model server has taken the request.

        The last list ends with the last event. Leaving, or cancelling, aborts generation and
        leaves the machine as it is: `cut`, `cancel` or `fail` ends it.

        Raises:
            JanError: as `Chat.stream`. After the first events, end the response with `fail`.
        """
        machine = self.machine
        async with self._opened(request_id, headers) as batches:
            yield machine.begin()
            async for batch in batches:
                if len(batch) == 1:
                    made = machine.feed(batch[0])
                else:
                    made = [event for chunk in batch for event in machine.feed(chunk)]
                if made:
                    yield made
        yield machine.finish()

    async def whole(self, *, request_id: str, headers: Headers = ()) -> None:
        """Make all of the response at once, without events. Raises as `stream`."""
        while True:
            try:
                answer = await self._chat.whole(
                    self._prompt.body, request_id=request_id, headers=headers
                )
                break
            except JanError as error:
                self._shorten(error)
        self.machine.feed(answer)
        self.machine.finish()

    @asynccontextmanager
    async def _opened(
        self, request_id: str, headers: Headers
    ) -> AsyncGenerator[AsyncIterator[Sequence[Chunk]]]:
        async with AsyncExitStack() as stack:
            while True:
                try:
                    batches = await stack.enter_async_context(
                        self._chat.stream(self._prompt.body, request_id=request_id, headers=headers)
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
            error.param = PARAMS.get(name, error.param)
            raise error
        share = truncation.share_to_keep(error, self._create.max_output_tokens)
        messages = truncation.shortened(self._prompt.messages, share)
        if messages is None:
            raise error
        self._prompt.body["messages"] = messages
