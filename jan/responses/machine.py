"""From the chunks of a chat completion to the events, and the answer, of a response.

Chunks go in, events come out: nothing here waits or speaks to anybody. The rules that events keep:
- Numbers are unbroken. Every item, and every part of one, that was added is done before the end.
- Reasoning and words are done when something else begins. Calls stay open until the model has
  finished, because servers may send pieces of several by turns; those that Jan carries out, until
  it has.
- There is one last event: completed, incomplete or failed. Nothing follows it.

Events are made from text that was decoded event by event, so no character is ever cut in half.
"""

from collections.abc import Collection, Sequence

from jan import clock, ids
from jan.errors import JanError, UpstreamError
from jan.inference import chunks
from jan.inference.calls import Call, Calls
from jan.inference.chunks import Chunk, Delta, Logprob, Logprobs, ToolCall, Usage
from jan.responses import events, response
from jan.responses.events import Tape
from jan.responses.response import (
    IncompleteDetails,
    ItemStatus,
    Message,
    OutputText,
    Reason,
    ReasoningItem,
    Response,
)
from jan.responses.schemas import Create
from jan.responses.server_calls import (
    AnyCallWriter,
    ApprovalWriter,
    ListWriter,
    McpCallWriter,
    Outcome,
    ServerCallWriter,
    begin_call,
)
from jan.responses.servers import ListedTool
from jan.responses.storable import without_nul
from jan.responses.tools import Tool, Toolset
from jan.responses.writers import (
    CallWriter,
    MessageWriter,
    ReasoningWriter,
    Writer,
)

REASONS: dict[str, Reason] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
"""Why a response is incomplete, by how the model has ended."""
BROKEN_OFF = frozenset({"abort", "error"})
"""How vLLM says that it gave up."""


class _Call(Call):
    """A call, and what writes it once its name has come."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: AnyCallWriter | None = None
        self.waiting: list[str] = []


class Machine:
    """Makes one response."""

    def __init__(
        self,
        begun: Response,
        create: Create,
        toolset: Toolset,
        *,
        next_number: int = 0,
        has_begun: bool = False,
    ) -> None:
        """Go on at `next_number`. `has_begun`: it has been told already that it is in progress."""
        self.response = begun
        """As it is now. Its output grows as items are begun."""
        self.usage: Usage | None = None
        """What the model server has counted, once it has told."""
        self.engine: str | None = None
        """Which engine answers, if it says so."""
        self._toolset = toolset
        self._wants_logprobs = create.wants_logprobs
        self._as_summary = create.reasoning is not None and create.reasoning.wants_summary
        options = create.stream_options
        pads = options is None or options.include_obfuscation is not False
        self._tape = Tape(next_number=next_number, pads=pads)
        self._has_begun = has_begun
        self._open: list[Writer] = []
        self._speaking: MessageWriter | ReasoningWriter | None = None
        self._calls = Calls(_Call)
        self._latest: Writer | None = None
        self._finish_reason: str | None = None
        self._held_logprobs: list[Logprob] = []
        self._sources: dict[str, str] = {}
        self._spent: Usage | None = None
        self._round_start = 0

    @property
    def pending(self) -> list[ServerCallWriter]:
        """Calls that Jan has to carry out, now that the model has said all of them."""
        return [
            writer
            for writer in self._open
            if isinstance(writer, ServerCallWriter) and writer.is_called
        ]

    @property
    def waits_for_client(self) -> bool:
        """Whether the model has called something that the client carries out, or has to allow."""
        return any(isinstance(call.writer, CallWriter | ApprovalWriter) for call in self._calls.all)

    @property
    def next_number(self) -> int:
        """The number that the next event will have."""
        return self._tape.next_number

    @property
    def has_output(self) -> bool:
        """Whether anything of the model's own has come."""
        return bool(self.response.output)

    @property
    def is_over(self) -> bool:
        """Whether the last event has been made."""
        return self.response.status not in {"queued", "in_progress"}

    def queue(self) -> list[bytes]:
        """Begin a response that waits for its turn."""
        self.response.status = "queued"
        self._tell(events.CREATED)
        self._tell(events.QUEUED)
        return self._tape.take()

    def begin(self) -> list[bytes]:
        """Begin, whether or not it has been queued before."""
        if self._has_begun:
            self.response.status = "in_progress"
            return []
        if self.response.status != "queued":
            self._tell(events.CREATED)
        self.response.status = "in_progress"
        self._has_begun = True
        self._tell(events.IN_PROGRESS)
        return self._tape.take()

    def feed(self, chunk: Chunk) -> list[bytes]:
        """Take a chunk of a stream, or a whole answer.

        Raises:
            UpstreamError: the model server says that it has given up.
        """
        if chunk.usage is not None:
            self.usage = chunks.sum_of(self._spent, chunk.usage)
        if chunk.system_fingerprint is not None:
            self.engine = chunk.system_fingerprint
        # Whoever goes on after the end has nothing to say that anything is still open for.
        if chunk.choices and self._finish_reason is None:
            choice = chunk.choices[0]
            delta = choice.delta or choice.message
            if delta is not None:
                self._take(delta, choice.logprobs)
            if choice.finish_reason:
                if choice.finish_reason in BROKEN_OFF:
                    raise UpstreamError("The model server stopped before its answer was complete.")
                self._finish_reason = choice.finish_reason
                self._close_round()
        return self._tape.take()

    @property
    def is_cut_off(self) -> bool:
        """Whether the model has ended in the middle of something."""
        return self._finish_reason in REASONS

    def end_round(self) -> list[bytes]:
        """End what the model has said so far. Some servers do not say that they have finished."""
        self._close_round()
        return self._tape.take()

    def begin_listing(self, label: str) -> tuple[ListWriter, list[bytes]]:
        """Begin to ask an MCP server what it has."""
        writer = ListWriter(self._tape, len(self.response.output), label)
        self._add(writer)
        return writer, self._tape.take()

    def end_listing(
        self, writer: ListWriter, tools: Sequence[ListedTool], error: str | None
    ) -> list[bytes]:
        """Take what it has, or why it did not say."""
        writer.end(tools, error)
        self._open.remove(writer)
        return self._tape.take()

    def begin_allowed(self, tool: Tool, arguments: str, approval_id: str) -> list[bytes]:
        """Begin a call that the model has made before, and that the client has now allowed."""
        writer = McpCallWriter(
            self._tape, len(self.response.output), approval_id, tool, approval_id=approval_id
        )
        self._add(writer)
        writer.add(arguments)
        writer.called()
        return self._tape.take()

    def carried_out(self, call: ServerCallWriter, outcome: Outcome) -> list[bytes]:
        """Take what came of a pending call."""
        self._sources |= {source.url: source.title for source in outcome.sources}
        call.end(outcome)
        self._open.remove(call)
        return self._tape.take()

    def said(self) -> tuple[str, str]:
        """Tell the model's words and its thoughts since the last time that it was asked."""
        words: list[str] = []
        thoughts: list[str] = []
        for item in self.response.output[self._round_start :]:
            if isinstance(item, Message):
                words += [part.text for part in item.content if isinstance(part, OutputText)]
            elif isinstance(item, ReasoningItem):
                thoughts += [part.text for part in item.content or item.summary]
        return "".join(words), "\n".join(thoughts)

    def ask_again(self) -> None:
        """Make ready for what the model says next, having been told what came of its calls."""
        self._finish_reason = None
        self._calls = Calls(_Call)
        self._latest = None
        self._spent = self.usage
        self._round_start = len(self.response.output)

    def finish(self) -> list[bytes]:
        """End, when all has come."""
        reason = REASONS.get(self._finish_reason or "")
        self._close_all(cut=[*self._cut_by_model(), *self.pending])
        if reason is not None:
            self.response.incomplete_details = IncompleteDetails(reason)
            return self._end("incomplete", events.INCOMPLETE)
        self.response.completed_at = int(clock.now().timestamp())
        return self._end("completed", events.COMPLETED)

    def fail(self, error: JanError) -> list[bytes]:
        """End because something went wrong. What there is of items is kept as incomplete."""
        if self.is_over:
            return []
        self._close_all(cut=self._open)
        self.response.error = response.error_of(error)
        return self._end("failed", events.FAILED)

    def cut(self) -> list[bytes]:
        """End because nobody listens any more. What there is is kept as incomplete."""
        if self.is_over:
            return []
        self._close_all(cut=self._open)
        return self._end("incomplete", events.INCOMPLETE)

    def cancel(self) -> list[bytes]:
        """End because somebody wants it to. OpenAI has no event for it, so there may be none."""
        if self.is_over:
            return []
        self._close_all(cut=self._open)
        self._count()
        self.response.status = "cancelled"
        return self._tape.take()

    def overrule(self, error: JanError) -> list[bytes]:
        """Give another last event: what ended well could not be kept, so it is not told so."""
        self._tape.next_number -= 1
        self.response.completed_at = self.response.incomplete_details = None
        self.response.error = response.Error("server_error", error.message)
        return self._end("failed", events.FAILED)

    def _end(self, status: response.Status, head: bytes) -> list[bytes]:
        self._count()
        self.response.status = status
        self._tell(head)
        return self._tape.take()

    def _count(self) -> None:
        if self.usage is not None:
            self.response.usage = response.usage_of(self.usage)

    def _tell(self, head: bytes) -> None:
        self._tape.write(head, {"response": self.response})

    def _take(self, delta: Delta, logprobs: Logprobs | None) -> None:
        thoughts = delta.reasoning or delta.reasoning_content
        if self._wants_logprobs and logprobs is not None and logprobs.content:
            self._hold(delta, logprobs.content)
        if thoughts:
            self._thinker().think(without_nul(thoughts))
        if delta.content:
            held, self._held_logprobs = self._held_logprobs, []
            self._speaker().say(without_nul(delta.content), held)
        if delta.refusal:
            self._speaker().refuse(without_nul(delta.refusal))
        for piece in delta.tool_calls or ():
            self._take_call(piece)

    def _hold(self, delta: Delta, tokens: list[Logprob]) -> None:
        """Keep those of words. Some come before their text: half a character, half a tag."""
        if delta.content or not (delta.reasoning or delta.reasoning_content or delta.tool_calls):
            self._held_logprobs += tokens

    def _speaker(self) -> MessageWriter:
        writer = self._speaking
        if not isinstance(writer, MessageWriter):
            self._be_silent()
            index = len(self.response.output)
            writer = self._speaking = MessageWriter(self._tape, index, self._sources)
            self._add(writer)
        return writer

    def _thinker(self) -> ReasoningWriter:
        writer = self._speaking
        if not isinstance(writer, ReasoningWriter):
            self._be_silent()
            writer = self._speaking = ReasoningWriter(
                self._tape, len(self.response.output), as_summary=self._as_summary
            )
            self._add(writer)
        return writer

    def _be_silent(self) -> None:
        """End words or thoughts: something else begins."""
        if self._speaking is not None:
            self._speaking.close("completed")
            self._open.remove(self._speaking)
            self._speaking = None

    def _take_call(self, piece: ToolCall) -> None:
        function = piece.function
        call = self._calls.find(piece)
        arguments = without_nul(function.arguments) if function and function.arguments else ""
        if call.writer is None:
            if arguments:
                call.waiting.append(arguments)
            if not call.name:
                return
            self._be_silent()
            tool = self._toolset.tool(call.name)
            call.id = call.id or ids.new("call")
            call.writer = begin_call(self._tape, len(self.response.output), call.id, tool)
            self._add(call.writer)
            arguments = "".join(call.waiting)
        self._latest = call.writer
        if arguments:
            call.writer.add(arguments)

    def _add(self, writer: Writer) -> None:
        self.response.output.append(writer.item)  # pyright: ignore[reportArgumentType] - one of the union
        self._open.append(writer)
        self._latest = writer

    def _cut_by_model(self) -> Collection[Writer]:
        """A model that ends in the middle of something does so in what it wrote last."""
        return [self._latest] if self._finish_reason in REASONS and self._latest else ()

    def _close_round(self) -> None:
        """End what is open, now that the model has finished; what Jan carries out waits for it."""
        cut = self._cut_by_model()
        kept: list[Writer] = []
        for writer in self._open:
            if isinstance(writer, ServerCallWriter) and writer not in cut:
                if not writer.is_called:
                    writer.called()
                kept.append(writer)
            else:
                writer.close("incomplete" if writer in cut else "completed")
        self._open = kept
        self._speaking = None

    def _close_all(self, *, cut: Collection[Writer]) -> None:
        """End all open items. Those that were cut are incomplete."""
        for writer in self._open:
            status: ItemStatus = "incomplete" if writer in cut else "completed"
            writer.close(status)
        self._open = []
        self._speaking = None


def error_event(error: JanError, number: int) -> bytes:
    """Write the event that ends a stream where not even the response can be told any more."""
    tape = Tape(next_number=number, pads=False)
    tape.write(events.ERROR, {"code": error.code, "message": error.message, "param": error.param})
    return tape.take()[0]
