"""The Response object and the items of its output, as OpenAI's clients parse them.

All fields are always there, null only where OpenAI's definition allows it. What a request said of
itself is encoded once: three events repeat it, and the tools of an agent are long.
"""

from typing import Any, Literal

import msgspec

from jan.errors import InvalidRequest, JanError
from jan.inference import chunks
from jan.responses import tools
from jan.responses.reading import Asked
from jan.responses.schemas import Create, PlainText, Reasoning
from jan.responses.servers import ListedTool

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete", "failed"]
Reason = Literal["max_output_tokens", "content_filter"]

ERROR_CODES = {429: "rate_limit_exceeded"}
"""OpenAI has few codes for responses that failed. Those that say whose fault it was, by status."""


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """What the model said."""

    text: str
    annotations: list[dict[str, Any]] = []
    logprobs: list[dict[str, Any]] = []


class Refusal(msgspec.Struct, tag_field="type", tag="refusal"):
    """The model's words for not doing it."""

    refusal: str


class ReasoningText(msgspec.Struct, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(msgspec.Struct, tag_field="type", tag="summary_text"):
    """The same, for clients that ask for a summary."""

    text: str


class Message(msgspec.Struct, tag_field="type", tag="message"):
    """The model's words to the user."""

    id: str
    status: ItemStatus = "in_progress"
    role: str = "assistant"
    content: list[OutputText | Refusal] = []


class ReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning"):
    """The model's thoughts before it spoke."""

    id: str
    status: ItemStatus = "in_progress"
    summary: list[SummaryText] = []
    content: list[ReasoningText] = []
    encrypted_content: str | None = None


class FunctionCall(msgspec.Struct, tag_field="type", tag="function_call"):
    """A call that the client is to carry out."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: ItemStatus = "in_progress"
    namespace: str | msgspec.UnsetType = msgspec.UNSET


class CustomToolCall(msgspec.Struct, tag_field="type", tag="custom_tool_call"):
    """The same of a tool that takes free text."""

    id: str
    call_id: str
    name: str
    input: str = ""
    status: ItemStatus = "in_progress"
    namespace: str | msgspec.UnsetType = msgspec.UNSET


class McpCall(msgspec.Struct, tag_field="type", tag="mcp_call"):
    """A call of a tool of an MCP server, carried out here."""

    id: str
    name: str
    server_label: str
    arguments: str = ""
    output: str | None = None
    error: dict[str, Any] | None = None
    approval_request_id: str | None = None
    status: ItemStatus = "in_progress"


class McpListTools(msgspec.Struct, tag_field="type", tag="mcp_list_tools"):
    """The tools that an MCP server has."""

    id: str
    server_label: str
    tools: list[ListedTool] = []
    error: str | None = None


class McpApprovalRequest(msgspec.Struct, tag_field="type", tag="mcp_approval_request"):
    """A call that is carried out if the client allows it."""

    id: str
    name: str
    server_label: str
    arguments: str = ""


class WebSearchCall(msgspec.Struct, tag_field="type", tag="web_search_call"):
    """A search of the web, or a page that was opened, carried out here."""

    id: str
    action: dict[str, Any]
    status: ItemStatus = "in_progress"


OutputItem = (
    Message
    | ReasoningItem
    | FunctionCall
    | CustomToolCall
    | McpCall
    | McpListTools
    | McpApprovalRequest
    | WebSearchCall
)


class _InputDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int = 0


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int


class Usage(msgspec.Struct):
    """Tokens, by OpenAI's names for them."""

    input_tokens: int
    input_tokens_details: _InputDetails
    output_tokens: int
    output_tokens_details: _OutputDetails
    total_tokens: int


class Error(msgspec.Struct):
    """Why a response failed."""

    code: str
    message: str
    param: str | msgspec.UnsetType = msgspec.UNSET


class IncompleteDetails(msgspec.Struct):
    """Why a response ended early."""

    reason: Reason


class Conversation(msgspec.Struct):
    """The conversation that a response belongs to."""

    id: str


class Response(msgspec.Struct, kw_only=True):
    """OpenAI's Response."""

    id: str
    object: str = "response"
    created_at: int
    status: Status
    background: bool
    completed_at: int | None = None
    error: Error | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: msgspec.Raw
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: Conversation | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: Reasoning
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: msgspec.Raw
    tool_choice: msgspec.Raw
    tools: msgspec.Raw
    top_logprobs: int
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    truncation: str
    usage: Usage | None = None
    user: str | None
    metadata: msgspec.Raw


encode = msgspec.json.Encoder().encode
read = msgspec.json.Decoder(Response).decode
"""Read one as it is stored."""


def begun(
    asked: Asked, *, response_id: str, created_at: int, status: Status = "in_progress"
) -> Response:
    """Make the response to a request, before anything has come of it.

    Raises:
        InvalidRequest: what it repeats is nested too deeply.
    """
    create = asked.create
    conversation_id = create.conversation_id
    return Response(
        id=response_id,
        created_at=created_at,
        status=status,
        background=bool(create.background),
        instructions=_raw(create.instructions),
        max_output_tokens=create.max_output_tokens,
        max_tool_calls=create.max_tool_calls,
        model=create.model,
        output=[],
        parallel_tool_calls=create.parallel_tool_calls is not False,
        previous_response_id=create.previous_response_id,
        conversation=Conversation(conversation_id) if conversation_id else None,
        prompt_cache_key=create.prompt_cache_key,
        prompt_cache_retention=create.prompt_cache_retention,
        reasoning=create.reasoning or Reasoning(),
        safety_identifier=create.safety_identifier,
        service_tier=_tier(create),
        store=create.is_stored,
        temperature=1.0 if create.temperature is None else create.temperature,
        text=_raw(_text(create)),
        tool_choice=_raw("auto" if create.tool_choice is None else create.tool_choice),
        tools=_raw([tools.echoed(tool) for tool in create.tools or []]),
        top_logprobs=create.top_logprobs or 0,
        top_p=1.0 if create.top_p is None else create.top_p,
        presence_penalty=create.presence_penalty or 0.0,
        frequency_penalty=create.frequency_penalty or 0.0,
        truncation=create.truncation or "disabled",
        user=create.user,
        metadata=_raw(create.metadata or {}),
    )


def usage_of(counted: chunks.Usage) -> Usage:
    """Write the tokens that the model server has counted."""
    prompt_tokens, completion_tokens = counted.prompt_tokens or 0, counted.completion_tokens or 0
    return Usage(
        input_tokens=prompt_tokens,
        input_tokens_details=_InputDetails(counted.cached_tokens),
        output_tokens=completion_tokens,
        output_tokens_details=_OutputDetails(counted.reasoning_tokens),
        total_tokens=prompt_tokens + completion_tokens,
    )


def error_of(error: JanError) -> Error:
    """Write why a response failed."""
    fallback = "server_error" if error.status >= 500 else "invalid_prompt"  # noqa: PLR2004
    return Error(
        ERROR_CODES.get(error.status, fallback), error.message, error.param or msgspec.UNSET
    )


def _tier(create: Create) -> str:
    """OpenAI tells the tier that served, and there is one here."""
    said = create.service_tier
    return "default" if said is None or said == "auto" else said


def _text(create: Create) -> dict[str, Any]:
    """Write what the text was to be like. Fields without a value are left out, as OpenAI does."""
    said = create.text
    written = (said and said.format) or PlainText()
    shape = {
        name: value for name, value in msgspec.to_builtins(written).items() if value is not None
    }
    return {"format": shape, "verbosity": (said and said.verbosity) or "medium"}


def _raw(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(encode(value))
    except RecursionError:  # what could just be decoded, but not here, further down the stack
        raise InvalidRequest("The request is nested too deeply.") from None
