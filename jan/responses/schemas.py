"""What OpenAI's Responses API is asked. Source: OpenAI's `ResponseCreateParams`.

Every field may be null, which is the same as leaving it out, as OpenAI's clients have it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Summary = Literal["auto", "concise", "detailed"]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Reasoning(msgspec.Struct):
    """How much is thought, and how much of it is shown."""

    effort: Effort | None = None
    summary: Summary | None = None
    generate_summary: Summary | None = None
    """The older name of `summary`."""

    @property
    def wants_summary(self) -> bool:
        """Whether thoughts are to be shown as a summary."""
        return (self.summary or self.generate_summary) is not None


class PlainText(msgspec.Struct, tag_field="type", tag="text"):
    """Any text."""


class JsonObject(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON that follows a schema."""

    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class Text(msgspec.Struct):
    """What the text is to be like."""

    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(msgspec.Struct):
    """How the stream is written."""

    include_obfuscation: bool | None = None
    """Whether pieces are padded, so that their lengths tell an onlooker nothing. True if unsaid."""


class Reference(msgspec.Struct):
    """A conversation, by its id."""

    id: str


class Reading(msgspec.Struct, kw_only=True):
    """The part of a request that decides what the model is given to read."""

    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | Reference | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    truncation: Literal["auto", "disabled"] | None = None

    @property
    def conversation_id(self) -> str | None:
        """The conversation, in whichever way it was named."""
        said = self.conversation
        return said.id if isinstance(said, Reference) else said


class Count(Reading, kw_only=True):
    """The body of `POST /v1/responses/input_tokens`."""

    model: str | None = None


class Compact(Reading, kw_only=True):
    """The body of `POST /v1/responses/compact`, as far as Jan reads it."""

    model: str
    prompt_cache_key: str | None = None


class Create(Reading, kw_only=True):
    """The body of `POST /v1/responses`, as far as Jan reads it."""

    model: str
    background: bool | None = None
    frequency_penalty: Penalty | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    presence_penalty: Penalty | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether it is kept. OpenAI's does so unless told not to."""
        return self.store is not False

    @property
    def wants_logprobs(self) -> bool:
        """Whether each token is to tell how likely it was."""
        return bool(self.top_logprobs) or "message.output_text.logprobs" in (self.include or ())


OPENAI_ONLY = frozenset(
    {
        *("access_programs", "background_options", "context_management", "image", "moderation"),
        *("prompt_cache_options", "personality"),
    }
)
"""Parameters of OpenAI's own service: kept with the request, without effect."""

OURS = frozenset({"messages", "n", "stream_options", "functions", "function_call"})
"""Parameters of chat completions that are set here, or that would change an answer's shape."""

NAMES = frozenset(field.name for field in msgspec.structs.fields(Create))
