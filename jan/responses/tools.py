"""The tools of a request, as chat completions have them, and the names by which calls come back.

Chat completions know functions only, so what else a client can carry out is made one: a custom tool
is a function with one text, and what is in a namespace carries its name before its own. Tools that
a server would carry out, and types that came later than this, are not told to the model; they
are echoed, because coding agents send them to every server alike.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from jan.chat import request
from jan.errors import InvalidRequest, Unsupported

SEPARATOR = "__"
"""Between a namespace and a name. The characters of a function's name are few."""
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
    mode: Literal["auto", "required"] | None = None
    tools: list["_Choice"] | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """What a client can carry out for the model."""

    kind: Literal["function", "custom"]
    name: str
    namespace: str | None = None


@dataclass(slots=True)
class Toolset:
    """The tools of one request."""

    chat: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """As chat completions have them."""
    named: dict[str, Tool] = field(default_factory=dict[str, Tool])
    """By the name that the model knows."""
    choice: str | dict[str, Any] | None = None
    """As chat completions have it. None: nothing was said."""

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
    if choice is not None:
        _choose(toolset, choice)
    return toolset


def echoed(tool: dict[str, Any]) -> dict[str, Any]:
    """Write a tool as OpenAI gives it back: with the fields of a function that were left out."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True, **tool}


def _add(toolset: Toolset, said: dict[str, Any], place: str, namespace: str | None) -> None:
    kind = said.get("type")
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
        allowed = {
            _find(toolset, tool)
            for tool in choice.tools or []
            if tool.type in {"function", "custom"}
        }
        toolset.chat = [tool for tool in toolset.chat if tool["function"]["name"] in allowed]
        _choose(toolset, choice.mode or "auto")
    else:
        name = _find(toolset, choice)
        toolset.choice = {"type": "function", "function": {"name": name}}


def _find(toolset: Toolset, choice: _Choice) -> str:
    """Find the name by which the model knows a chosen tool."""
    if choice.type not in {"function", "custom"}:
        raise Unsupported(
            f"`tool_choice`: tools of type `{choice.type}` can't be forced here.",
            param="tool_choice.type",
        )
    for name, tool in toolset.named.items():
        if (tool.kind, tool.name) == (choice.type, choice.name) and (
            choice.namespace in {None, tool.namespace}
        ):
            return name
    raise InvalidRequest(
        f"`tool_choice` names `{choice.name}`, which is not among the tools.", param="tool_choice"
    )
