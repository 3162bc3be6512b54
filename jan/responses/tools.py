"""The tools of a request, as chat completions have them, and the names by which calls come back.

Chat completions know functions only, so what else a client can carry out is made one: a custom tool
is a function with one text, and what is in a namespace carries its name before its own. Tools that
only OpenAI carries out, and types that came later than this, are not told to the model; they are
echoed, because coding agents send them to every server alike. Those that Jan carries out
(`jan.responses.servers`) become functions too.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from jan.chat import request
from jan.errors import InvalidRequest, Unsupported
from jan.responses import servers
from jan.responses.servers import McpServer, WebSearch

SEPARATOR = "__"
"""Between a namespace and a name. The characters of a function's name are few."""
SEARCH = "web_search"
"""The function by which the model searches the web."""
OPEN_PAGE = "open_page"
"""The function by which it reads a page."""
CUSTOM_INPUT = "input"
"""The one parameter of the function that stands for a custom tool."""
_CUSTOM_PARAMETERS = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string"}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}


class _Function(msgspec.Struct, tag_field="type", tag="function"):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Custom(msgspec.Struct, tag_field="type", tag="custom"):
    name: str
    description: str | None = None
    format: dict[str, Any] | None = None


class _Namespace(msgspec.Struct, tag_field="type", tag="namespace"):
    name: str
    tools: list[dict[str, Any]]
    description: str | None = None


_KINDS: dict[str, type[_Function | _Custom | _Namespace]] = {
    "function": _Function,
    "custom": _Custom,
    "namespace": _Namespace,
}


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    namespace: str | None = None
    server_label: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list["_Choice"] | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """What the model can call. The client carries it out, unless it is of `mcp` or `web_search`."""

    kind: Literal["function", "custom", "mcp", "web_search"]
    name: str
    namespace: str | None = None
    server: str | None = None
    """The label of the MCP server that has it."""
    asks_before: bool = False
    """Whether the client has to allow each call."""


@dataclass(slots=True)
class Toolset:
    """The tools of one request."""

    chat: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """As chat completions have them."""
    named: dict[str, Tool] = field(default_factory=dict[str, Tool])
    """By the name that the model knows."""
    choice: str | dict[str, Any] | None = None
    """As chat completions have it. None: nothing was said."""
    mcp: list[McpServer] = field(default_factory=list[McpServer])
    """Whose tools join these once they are known."""
    web: WebSearch | None = None
    said_choice: str | dict[str, Any] | None = None
    """As the request has it, for when all tools are known."""

    @property
    def is_carried_out_here(self) -> bool:
        """Whether any of them may be Jan's to carry out."""
        return bool(self.mcp) or self.web is not None

    @property
    def body(self) -> dict[str, Any]:
        """The part of a chat completion's request that tells of them."""
        if not self.chat:
            return {}
        return {"tools": self.chat} | ({} if self.choice is None else {"tool_choice": self.choice})

    def add(self, tool: Tool, description: str | None, parameters: dict[str, Any]) -> str:
        """Let a tool join them, under its own name if that is free. Returns the name."""
        name, number = tool.name, 2
        if name in self.named:
            name = name_for_model(tool.name, tool.server)
        free = name
        while free in self.named:
            free, number = f"{name}{SEPARATOR}{number}", number + 1
        self.named[free] = tool
        self.chat.append(_function(free, description, parameters, None))
        return free

    def settle(self) -> None:
        """Choose, now that all tools are known.

        Raises:
            InvalidRequest: the choice is of none of them.
        """
        if self.said_choice is not None:
            _choose(self, self.said_choice)

    def tool(self, name: str) -> Tool:
        """Find what the model has called. A name that it made up is a function's."""
        return self.named.get(name) or Tool("function", name)


def name_for_model(name: str, namespace: str | None) -> str:
    """Write the name by which the model knows a tool."""
    return f"{namespace}{SEPARATOR}{name}" if namespace else name


def read(tools: list[dict[str, Any]] | None, choice: str | dict[str, Any] | None) -> Toolset:
    """Bring a request's tools into the form of chat completions.

    Raises:
        InvalidRequest: one is not as its type wants it, two have one name, or the choice is of
            none of them.
    """
    toolset = Toolset()
    for index, tool in enumerate(tools or []):
        _add(toolset, tool, f"tools[{index}]", None)
    toolset.said_choice = choice
    if not toolset.is_carried_out_here:
        toolset.settle()
    return toolset


def echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """Write a tool as OpenAI gives it back: with the fields of a function that were left out."""
    if tool.get("type") != "function":
        return servers.without_secrets(tool)
    return {"description": None, "parameters": None, "strict": True, **tool}


def _add(toolset: Toolset, said: dict[str, Any], place: str, namespace: str | None) -> None:
    kind = said.get("type")
    if servers.are_ours(kind):
        _add_ours(toolset, said, place)
        return
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        if not isinstance(kind, str):
            raise InvalidRequest(f"`{place}.type`: expected `str`.", param=f"{place}.type")
        return
    try:
        tool = msgspec.convert(said, known)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), place) from None
    if isinstance(tool, _Namespace):
        if namespace is None:
            for index, inner in enumerate(tool.tools):
                _add(toolset, inner, f"{place}.tools[{index}]", tool.name)
        return
    name = name_for_model(tool.name, namespace)
    if name in toolset.named:
        raise InvalidRequest(f"There are two tools named `{name}`.", param=f"{place}.name")
    if isinstance(tool, _Function):
        toolset.named[name] = Tool("function", tool.name, namespace)
        toolset.chat.append(_function(name, tool.description, tool.parameters, tool.strict))
    else:
        toolset.named[name] = Tool("custom", tool.name, namespace)
        toolset.chat.append(_function(name, _described(tool), _CUSTOM_PARAMETERS, None))


def _add_ours(toolset: Toolset, said: dict[str, Any], place: str) -> None:
    """Take down what Jan carries out."""
    if said["type"] != "mcp":
        toolset.web = servers.read_web_search(said, place)
        return
    server = servers.read_mcp(said, place)
    if any(server.server_label == other.server_label for other in toolset.mcp):
        raise InvalidRequest(
            f"There are two servers labelled `{server.server_label}`.",
            param=f"{place}.server_label",
        )
    toolset.mcp.append(server)


def _function(
    name: str, description: str | None, parameters: dict[str, Any] | None, strict: bool | None
) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    if parameters is not None:
        function["parameters"] = parameters
    if strict is not None:
        function["strict"] = strict
    return {"type": "function", "function": function}


def _described(tool: _Custom) -> str | None:
    """Tell the model of the grammar too: as a function's argument it can't be enforced."""
    grammar = (tool.format or {}).get("definition")
    words = [tool.description] if tool.description else []
    if isinstance(grammar, str):
        words.append(f"`{CUSTOM_INPUT}` follows this grammar:\n{grammar}")
    return "\n\n".join(words) or None


def _choose(toolset: Toolset, said: str | dict[str, Any]) -> None:
    if isinstance(said, str):
        if said not in {"none", "auto", "required"}:
            raise InvalidRequest(
                "`tool_choice`: expected `none`, `auto`, `required` or a tool.", param="tool_choice"
            )
        if said == "required" and not toolset.chat:
            raise InvalidRequest(
                "`tool_choice` is `required`, but there is no tool that can be called.",
                param="tool_choice",
            )
        toolset.choice = said if toolset.chat else None
        return
    try:
        choice = msgspec.convert(said, _Choice)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), "tool_choice") from None
    if choice.type == "allowed_tools":
        known = [tool for tool in choice.tools or [] if _kind(tool.type) is not None]
        _allow(toolset, {name for tool in known for name in _find(toolset, tool)})
        _choose(toolset, choice.mode or "auto")
        return
    names = _find(toolset, choice)
    if len(names) == 1:
        toolset.choice = {"type": "function", "function": {"name": names[0]}}
    else:  # all of a server's: any of them
        _allow(toolset, names)
        toolset.choice = "required"


def _allow(toolset: Toolset, names: Container[str]) -> None:
    toolset.chat = [tool for tool in toolset.chat if tool["function"]["name"] in names]


def _kind(said: str) -> str | None:
    """What a choice's type stands for. None: for what can't be called here."""
    if said in servers.WEB_SEARCH:
        return "web_search"
    return said if said in {"function", "custom", "mcp"} else None


def _find(toolset: Toolset, choice: _Choice) -> list[str]:
    """Find the names by which the model knows a chosen tool, or a server's tools."""
    kind = _kind(choice.type)
    if kind is None:
        raise Unsupported(
            f"`tool_choice`: tools of type `{choice.type}` can't be forced here.",
            param="tool_choice.type",
        )
    found = [name for name, tool in toolset.named.items() if _is_chosen(tool, kind, choice)]
    if kind == "web_search" and not found:
        raise Unsupported(
            "`tool_choice` is a search of the web, which is not set up here."
            " Set `serper_api_key` or `searxng_url`.",
            param="tool_choice",
        )
    if not found:
        raise InvalidRequest(
            f"`tool_choice` names `{choice.name or choice.server_label}`, which is not among the"
            " tools.",
            param="tool_choice",
        )
    return found


def _is_chosen(tool: Tool, kind: str, choice: _Choice) -> bool:
    if tool.kind != kind or choice.namespace not in {None, tool.namespace}:
        return False
    if kind == "web_search":
        return tool.name == SEARCH
    if kind == "mcp":
        return tool.server == choice.server_label and choice.name in {None, tool.name}
    return tool.name == choice.name
