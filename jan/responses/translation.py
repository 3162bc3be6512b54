"""From what is asked to the chat completion that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jan.conversations.items import Item, McpApprovalRequest
from jan.errors import InvalidRequest
from jan.responses import approvals, messages, tools
from jan.responses.messages import ChatMessage
from jan.responses.reading import Asked
from jan.responses.schemas import Count, Create, JsonObject, JsonSchema, Reading
from jan.responses.servers import ListedTool
from jan.responses.tools import Toolset


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat completion to be asked for."""

    body: dict[str, Any]
    """Of the request to the model server, messages included."""
    toolset: Toolset
    allowed: Sequence[McpApprovalRequest] = ()
    """Calls of tools that the client has now allowed."""
    listed: Mapping[str, Sequence[ListedTool]] = field(
        default_factory=dict[str, Sequence[ListedTool]]
    )
    """What MCP servers have told before, by label."""

    @property
    def messages(self) -> list[ChatMessage]:
        """What the model is given to read."""
        return self.body["messages"]


def prompt(asked: Asked, history: Sequence[Item] = ()) -> Prompt:
    """Translate a request. `history` is what came before its input, by whatever it was found.

    Raises:
        InvalidRequest: there is nothing to read, an output answers no call, or a tool is wrong.
        Unsupported: an item or a tool choice needs what can't be had here.
    """
    create = asked.create
    toolset = tools.read(create.tools, create.tool_choice)
    allowed, listed = (), {}
    if toolset.mcp:
        allowed = approvals.allowed(history, asked.input)
        listed = approvals.listed(history, asked.input)
    body = asked.extras | {"model": create.model}
    body |= _sampling(create)
    body |= _read(create, toolset, history, asked.input)
    return Prompt(body, toolset, allowed, listed)


def counted(asked: Count, given: Sequence[Item], history: Sequence[Item] = ()) -> dict[str, Any]:
    """Translate what is only to be counted. Raises as `prompt`."""
    toolset = tools.read(asked.tools, asked.tool_choice)
    body = _read(asked, toolset, history, given)
    return {name: body[name] for name in ("messages", "tools") if name in body}


def _read(
    asked: Reading, toolset: Toolset, history: Sequence[Item], given: Sequence[Item]
) -> dict[str, Any]:
    """Translate the part of a request that the model reads."""
    said = messages.translated(asked.instructions, history, given)
    if not said:
        raise InvalidRequest("You must provide the parameter `input`.", param="input")
    body: dict[str, Any] = {"messages": said}
    body |= toolset.body
    if asked.parallel_tool_calls is not None and (toolset.chat or toolset.is_carried_out_here):
        body["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        body["reasoning_effort"] = asked.reasoning.effort
    if asked.text is not None:
        shape = asked.text.format
        if isinstance(shape, JsonObject):
            body["response_format"] = {"type": "json_object"}
        elif isinstance(shape, JsonSchema):
            schema = {"name": shape.name, "schema": shape.schema}
            schema |= _said(description=shape.description, strict=shape.strict)
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        body |= _said(verbosity=asked.text.verbosity)
    return body


def _sampling(create: Create) -> dict[str, Any]:
    """Translate the part of a request that says how to answer."""
    body = _said(
        max_completion_tokens=create.max_output_tokens,
        temperature=create.temperature,
        top_p=create.top_p,
        frequency_penalty=create.frequency_penalty,
        presence_penalty=create.presence_penalty,
        prompt_cache_key=create.prompt_cache_key,
        safety_identifier=create.safety_identifier,
        user=create.user,
    )
    if create.wants_logprobs:
        body |= {"logprobs": True, "top_logprobs": create.top_logprobs or 0}
    return body


def _said(**fields: Any) -> dict[str, Any]:
    """Leave out what has no value: servers do not all take null."""
    return {name: value for name, value in fields.items() if value is not None}
