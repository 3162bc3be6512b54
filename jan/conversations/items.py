"""Input items: what was said, thought and called before, as OpenAI writes it.

An item is kept as the JSON object that came, unknown fields included; the types here tell whether
it is one, and read it for the model. Source: OpenAI's `ResponseInputItem`.
"""

from typing import Any, Literal, get_args

import msgspec

from jan import ids
from jan.chat import request
from jan.errors import InvalidRequest

Item = dict[str, Any]

Status = Literal["in_progress", "completed", "incomplete", "failed"]
STATUSES: frozenset[str] = frozenset(get_args(Status))
MAX_ID_LENGTH = 128
"""Of what clients call an item, as the database's column has it."""


class InputText(msgspec.Struct, tag_field="type", tag="input_text"):
    """Text for the model."""

    text: str


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """Text by the model. Its annotations are kept with the item, and are not for the model."""

    text: str


class Refusal(msgspec.Struct, tag_field="type", tag="refusal"):
    """The model's words for not doing it."""

    refusal: str


class PlainText(msgspec.Struct, tag_field="type", tag="text"):
    """Text, by whomever: Jan's older clients write it so."""

    text: str


class InputImage(msgspec.Struct, tag_field="type", tag="input_image"):
    """A picture: where it is, or all of it as a data URL."""

    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputFile(msgspec.Struct, tag_field="type", tag="input_file"):
    """A file: all of it as a data URL, or where it is."""

    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Audio(msgspec.Struct):
    data: str
    format: str


class InputAudio(msgspec.Struct, tag_field="type", tag="input_audio"):
    """A sound, in Base64."""

    input_audio: _Audio


InputPart = InputText | InputImage | InputFile | InputAudio
Part = InputPart | PlainText | OutputText | Refusal


class Message(msgspec.Struct):
    """Somebody's words."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    status: Status | None = None


class FunctionCall(msgspec.Struct):
    """The model called a function of the client's."""

    call_id: str
    name: str
    arguments: str
    namespace: str | None = None
    status: Status | None = None


class CustomToolCall(msgspec.Struct):
    """The model called a tool of the client's that takes free text."""

    call_id: str
    name: str
    input: str
    namespace: str | None = None
    status: Status | None = None


class CallOutput(msgspec.Struct):
    """What the client's function or tool gave back."""

    call_id: str
    output: str | list[InputText | InputImage | InputFile]
    status: Status | None = None


class _Thought(msgspec.Struct):
    text: str


class Reasoning(msgspec.Struct):
    """What the model thought before it spoke."""

    summary: list[_Thought] | None = None
    content: list[_Thought] | None = None
    status: Status | None = None

    @property
    def text(self) -> str:
        """The thoughts; of a model that keeps them to itself, their summary."""
        return "\n".join(thought.text for thought in self.content or self.summary or ())


class ItemReference(msgspec.Struct):
    """Stands for an item that is stored."""

    id: str


class McpCall(msgspec.Struct):
    """The model called a tool of an MCP server, and Jan did so for it."""

    id: str
    name: str
    arguments: str
    server_label: str
    output: str | None = None
    error: Any = None
    status: Status | Literal["calling"] | None = None


class McpListTools(msgspec.Struct):
    """The tools that an MCP server was found to have."""

    id: str
    server_label: str
    tools: list[dict[str, Any]]


class McpApprovalRequest(msgspec.Struct):
    """A call to an MCP server's tool that waits for the client's leave."""

    id: str
    name: str
    arguments: str
    server_label: str


class McpApprovalResponse(msgspec.Struct):
    """The client's leave, or its refusal."""

    approval_request_id: str
    approve: bool


class WebSearchCall(msgspec.Struct):
    """The model searched the web."""

    id: str
    action: dict[str, Any] | None = None
    status: Status | Literal["searching"] | None = None


AnyItem = (
    Message
    | FunctionCall
    | CustomToolCall
    | CallOutput
    | Reasoning
    | ItemReference
    | McpCall
    | McpListTools
    | McpApprovalRequest
    | McpApprovalResponse
    | WebSearchCall
)

TYPES: dict[str, type[AnyItem]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": CallOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": CallOutput,
    "reasoning": Reasoning,
    "item_reference": ItemReference,
    "mcp_call": McpCall,
    "mcp_list_tools": McpListTools,
    "mcp_approval_request": McpApprovalRequest,
    "mcp_approval_response": McpApprovalResponse,
    "web_search_call": WebSearchCall,
}

FOREIGN = frozenset(
    {
        *("file_search_call", "computer_call", "computer_call_output", "code_interpreter_call"),
        *("image_generation_call", "local_shell_call", "local_shell_call_output", "shell_call"),
        *("shell_call_output", "apply_patch_call", "apply_patch_call_output", "tool_search_call"),
        *("tool_search_output", "additional_tools", "compaction", "compaction_trigger"),
        *("configuration_update", "program", "program_output"),
    }
)
"""Items that only OpenAI's own tools make. They are kept, and the model is not told of them."""

PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "web_search_call": "ws",
}
"""Of ids, by type of item."""

_WITH_STATUS = frozenset({"message", "function_call", "function_call_output"})
"""Items that OpenAI gives back with a status, whether or not they came with one."""
_DEFAULTS: dict[str, Item] = {"output_text": {"annotations": []}, "input_image": {"detail": "auto"}}
"""What parts of content have when they are given back, by their type."""


def read(item: Item, place: str) -> AnyItem | None:
    """Read an item. None is one of those that are not for the model.

    Raises:
        InvalidRequest: it is no item; `param` names what is wrong with it, beginning with `place`.
    """
    kind = type_of(item)
    known = TYPES.get(kind)
    _check_id(item.get("id"), place)
    if known is None:
        if kind in FOREIGN:
            return None
        raise InvalidRequest(
            f"`{place}.type`: there is no item of type `{kind}`.", param=f"{place}.type"
        )
    try:
        return msgspec.convert(item, known)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), place) from None


def _check_id(item_id: object, place: str) -> None:
    """Refuse what is no id. None: it is to get one."""
    if item_id is None or (
        isinstance(item_id, str) and 0 < len(item_id) <= MAX_ID_LENGTH and item_id.isprintable()
    ):
        return
    raise InvalidRequest(
        f"`{place}.id`: an id has 1 to {MAX_ID_LENGTH} printable characters.", param=f"{place}.id"
    )


def type_of(item: Item) -> str:
    """Tell an item's type, which messages and references may leave out."""
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    return kind if isinstance(kind, str) else str(kind)


def normalized(item: Item) -> Item:
    """Write an item as OpenAI gives it back: with its type, and content always in parts."""
    kind = type_of(item)
    item = {**item, "type": kind}
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        text = {"type": part, "text": item["content"]}
        item["content"] = [text | {"annotations": []} if part == "output_text" else text]
    return item


def said_by_user(text: str) -> Item:
    """Make the item that a plain string stands for."""
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }


def with_id(item: Item) -> Item:
    """Give an item what it lacks to be kept: an id, a status, and what its content always has."""
    kind = type_of(item)
    said = {name: value for name, value in item.items() if value is not None or name != "id"}
    named: Item = {"id": ids.new(PREFIXES.get(kind, "item")), **normalized(said)}
    if kind in _WITH_STATUS and named.get("status") is None:
        named["status"] = "completed"
    if kind == "message":
        parts = named["content"]
        named["content"] = [_DEFAULTS.get(part["type"], {}) | part for part in parts]
    return named


def status_of(item: Item) -> str | None:
    """Tell an item's status, if it is one of those that all items can have."""
    status = item.get("status")
    return status if isinstance(status, str) and status in STATUSES else None
