"""Tools that Jan carries out, as a request asks for them: MCP servers, and the web.

What an MCP server has is known only when it has been asked, so its tools join the others later.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec

from jan.chat import request
from jan.errors import InvalidRequest, Unsupported

T = TypeVar("T")

SECRETS = ("authorization", "headers")
"""Of a request for an MCP server: what is neither told again nor kept."""


class ListedTool(msgspec.Struct):
    """What an MCP server says of one of its tools."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    annotations: dict[str, Any] | None = None


class Filter(msgspec.Struct):
    """Some of a server's tools: those of these names, of those that say that they only read."""

    tool_names: list[str] | None = None
    read_only: bool | None = None

    def has(self, tool: ListedTool) -> bool:
        """Whether a tool is one of them."""
        if self.tool_names is not None and tool.name not in self.tool_names:
            return False
        is_read_only = bool((tool.annotations or {}).get("readOnlyHint"))
        return self.read_only is None or self.read_only == is_read_only


class _Approval(msgspec.Struct):
    always: Filter | None = None
    never: Filter | None = None


class McpServer(msgspec.Struct, tag_field="type", tag="mcp"):
    """A server that may be used: by its address, or one that is registered here."""

    server_label: str
    server_url: str | None = None
    connector_id: str | None = None
    """The id, or the label, of a registered one."""
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[str] | Filter | None = None
    require_approval: Literal["always", "never"] | _Approval | None = None
    server_description: str | None = None

    def allows(self, tool: ListedTool) -> bool:
        """Whether the model is to be told of a tool."""
        allowed = self.allowed_tools
        if isinstance(allowed, list):
            return tool.name in allowed
        return allowed is None or allowed.has(tool)

    def asks_before(self, tool: ListedTool) -> bool:
        """Whether the client has to allow each call. It does unless it has said otherwise."""
        said = self.require_approval
        if not isinstance(said, _Approval):
            return said != "never"
        if said.always is not None and said.always.has(tool):
            return True
        return said.never is None or not said.never.has(tool)


class _Place(msgspec.Struct):
    city: str | None = None
    country: str | None = None
    region: str | None = None


class _Domains(msgspec.Struct):
    allowed_domains: list[str] | None = None


class WebSearch(msgspec.Struct):
    """Searching the web."""

    filters: _Domains | None = None
    user_location: _Place | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None

    @property
    def domains(self) -> list[str]:
        """Where is looked, and below. Empty: everywhere."""
        return (self.filters and self.filters.allowed_domains) or []


WEB_SEARCH = frozenset(
    {
        *("web_search", "web_search_2025_08_26"),
        *("web_search_preview", "web_search_preview_2025_03_11"),
    }
)
"""The names under which it has been known."""


def are_ours(kind: Any) -> bool:
    """Whether tools of a type are those that Jan carries out."""
    return isinstance(kind, str) and (kind == "mcp" or kind in WEB_SEARCH)


def read_mcp(said: dict[str, Any], place: str) -> McpServer:
    """Read a tool of type `mcp`.

    Raises:
        InvalidRequest: it is not as it has to be; `param` begins with `place`.
        Unsupported: it names what is only OpenAI's.
    """
    server = _read(said, McpServer, place)
    if said.get("tunnel_id") is not None:
        raise Unsupported(f"`{place}.tunnel_id`: there are no tunnels here.", param=place)
    if (server.server_url is None) == (server.connector_id is None):
        raise InvalidRequest(
            f"`{place}` names a server by `server_url`, or a registered one by `connector_id`.",
            param=f"{place}.server_url",
        )
    if server.connector_id is not None and (server.authorization or server.headers):
        raise InvalidRequest(
            f"`{place}`: a registered server has its own credentials.",
            param=f"{place}.authorization",
        )
    return server


def read_web_search(said: dict[str, Any], place: str) -> WebSearch:
    """Read a tool of type `web_search`. Raises InvalidRequest as `read_mcp`."""
    return _read(said, WebSearch, place)


def refuse_secrets(tools: Sequence[dict[str, Any]]) -> None:
    """Refuse credentials in what is kept until somebody makes the response.

    Raises:
        Unsupported: there are some; `param` names the tool.
    """
    for index, tool in enumerate(tools):
        if tool.get("type") == "mcp" and any(tool.get(name) for name in SECRETS):
            raise Unsupported(
                f"`tools[{index}]`: a response in the background can't be given credentials of an"
                " MCP server. Have the server registered, and name it by `connector_id`.",
                param=f"tools[{index}]",
            )


def without_secrets(tool: dict[str, Any]) -> dict[str, Any]:
    """Write a tool as it may be kept and told again."""
    if tool.get("type") != "mcp":
        return tool
    return {name: value for name, value in tool.items() if name not in SECRETS}


def _read(said: dict[str, Any], kind: type[T], place: str) -> T:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error), place) from None
