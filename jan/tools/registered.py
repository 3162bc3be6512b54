"""Registered MCP servers as they are on the wire, and as the rest of the program sees them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.errors import InvalidRequest
from jan.wire import optional_seconds, seconds

Approval = Literal["always", "never"]

MAX_HEADERS = 16
MAX_HEADER_BYTES = 8192
MAX_TOOLS = 128
MAX_URL_LENGTH = 2048
MAX_DESCRIPTION_LENGTH = 1000

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e]*")

NOT_OURS_TO_SET = frozenset(
    {
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "upgrade"),
        *("accept", "accept-encoding", "te", "trailer", "keep-alive", "expect"),
        *("mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"),
    }
)
"""Headers that the protocol, or the way there, needs for itself."""


class ServerCreate(msgspec.Struct, kw_only=True):
    """A server to be registered."""

    label: str
    url: str
    description: str = ""
    project_id: str | None = None
    """None: for all projects of the organization; of who has none, for their own."""
    headers: dict[str, str] = {}
    """Sent with every request. Never shown again."""
    authorization: str | None = None
    """A token, sent as `Authorization: Bearer`."""
    allowed_tools: list[str] | None = None
    """None: all."""
    require_approval: Approval = "always"
    enabled: bool = True


class ServerUpdate(msgspec.Struct, kw_only=True):
    """What is to be different. What is left out stays."""

    label: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    """All of them anew; empty: none."""
    authorization: str | UnsetType = UNSET
    allowed_tools: list[str] | UnsetType | None = UNSET
    require_approval: Approval | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class ServerObject(msgspec.Struct, kw_only=True):
    """A server as it is told. Of its credentials only the names."""

    id: str
    object: Literal["mcp.server"] = "mcp.server"
    label: str
    url: str
    description: str
    organization_id: str | None
    project_id: str | None
    header_names: list[str]
    allowed_tools: list[str] | None
    require_approval: Approval
    enabled: bool
    status: Literal["ok", "failing", "unchecked"]
    last_error: str | None
    last_checked_at: int | None
    tools_listed_at: int | None
    tool_names: list[str]
    tools: list[Any] | UnsetType = UNSET
    """In full, of one server alone."""
    left_out: list[str]
    """Tools that can't be used, and why."""
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A server, with what opens it still sealed."""

    id: str
    organization_id: str | None
    project_id: str | None
    label: str
    description: str
    url: str
    sealed: str | None = field(repr=False)
    header_names: list[str]
    allowed_tools: list[str] | None
    require_approval: Approval
    is_enabled: bool
    tools: list[dict[str, Any]] | None
    """As they were listed last: see `Tool.described`. None: never."""
    left_out: list[str]
    tools_listed_at: Any
    last_checked_at: Any
    last_error: str | None
    created_at: Any
    updated_at: Any

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Registered":
        """Read a row."""
        values = dict(row)
        if values["tools"] is not None:
            values["tools"] = msgspec.json.decode(values["tools"])
        return cls(**values)

    def shown(self, *, in_full: bool = False) -> ServerObject:
        """Tell of it."""
        tools = self.tools or []
        status = "failing" if self.last_error else "ok"
        return ServerObject(
            id=self.id,
            label=self.label,
            url=self.url,
            description=self.description,
            organization_id=self.organization_id,
            project_id=self.project_id,
            header_names=self.header_names,
            allowed_tools=self.allowed_tools,
            require_approval=self.require_approval,
            enabled=self.is_enabled,
            status="unchecked" if self.last_checked_at is None else status,
            last_error=self.last_error,
            last_checked_at=optional_seconds(self.last_checked_at),
            tools_listed_at=optional_seconds(self.tools_listed_at),
            tool_names=[tool["name"] for tool in tools],
            tools=tools if in_full else UNSET,
            left_out=self.left_out,
            created_at=seconds(self.created_at),
        )


def label(said: str) -> str:
    """Take a label.

    Raises:
        InvalidRequest: model servers would not take it as part of a name.
    """
    if not _LABEL.fullmatch(said):
        raise InvalidRequest(
            "A label begins with a letter, and has up to 64 letters, digits, `_` and `-`.",
            param="label",
        )
    return said


def description(said: str) -> str:
    """Take what it is for.

    Raises:
        InvalidRequest: that is too long.
    """
    if len(said) > MAX_DESCRIPTION_LENGTH or "\0" in said:
        raise InvalidRequest(
            f"A description has {MAX_DESCRIPTION_LENGTH} characters at most.", param="description"
        )
    return said


def tools(said: Sequence[str] | None) -> list[str] | None:
    """Take the names of tools.

    Raises:
        InvalidRequest: there are too many, or they are too long.
    """
    if said is None:
        return None
    if len(said) > MAX_TOOLS or any(
        not 0 < len(name) <= MAX_TOOLS or "\0" in name for name in said
    ):
        raise InvalidRequest(
            f"Name {MAX_TOOLS} tools at most, each as the server does.", param="allowed_tools"
        )
    return list(dict.fromkeys(said))


def headers(said: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    """Take headers that are to be sent, an authorization among them.

    Raises:
        InvalidRequest: they are none, too long, or not to be set.
    """
    found = {name.lower(): value for name, value in said.items()}
    if authorization:
        found["authorization"] = f"Bearer {authorization.removeprefix('Bearer ')}"
    if len(found) > MAX_HEADERS:
        raise InvalidRequest(f"There are {MAX_HEADERS} headers at most.", param="headers")
    for name, value in found.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidRequest("A header is one line of printable ASCII.", param="headers")
        if name in NOT_OURS_TO_SET:
            raise InvalidRequest(f"The header `{name}` can't be set.", param="headers")
    if sum(len(name) + len(value) for name, value in found.items()) > MAX_HEADER_BYTES:
        raise InvalidRequest(f"Headers have {MAX_HEADER_BYTES} bytes at most.", param="headers")
    return found
