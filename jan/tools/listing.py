"""The tools that a remote server lists, as far as they can be used.

Names and schemas go to a model and into its context, so there are bounds to both. A tool that can't
be used is left out, and told of; a server that lists without end is refused.
"""

import re
from collections.abc import Callable, Iterable

import mcp_types as types
import msgspec

from jan.errors import InvalidRequest, ToolServerFailed
from jan.tools import arguments, remote_content
from jan.tools.toolbox import Annotations, Call, Listing, Tool

MAX_TOOLS = 128
"""OpenAI's limit for all tools of one request."""
MAX_PAGES = 32
MAX_DESCRIPTION_LENGTH = 4096
MAX_SCHEMAS_BYTES = 256 * 1024
"""Of all together: what is longer no model reads to its end."""

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
"""What model servers take as a function's name; the dot only with a prefix that replaces it."""


class Collector:
    """Takes pages of a list."""

    def __init__(self, call: Callable[[str], Call]) -> None:
        """`call` makes what calls a tool of this name."""
        self._call = call
        self._tools: dict[str, Tool] = {}
        self._left_out: list[str] = []
        self._pages = 0
        self._bytes = 0

    def add(self, found: Iterable[types.Tool], label: str) -> None:
        """Take one page of what the server `label` lists.

        Raises:
            ToolServerFailed: there are too many, or they are too long.
        """
        self._pages += 1
        for tool in found:
            if len(self._tools) + len(self._left_out) >= MAX_TOOLS:
                raise ToolServerFailed(
                    f"The MCP server `{label}` lists more than {MAX_TOOLS} tools."
                )
            shown = remote_content.short(tool.name)
            try:
                self._bytes += len(msgspec.json.encode(tool.input_schema))
                problem = self._problem(tool)
            except RecursionError:
                problem = "its schema is nested too deeply"
            if self._bytes > MAX_SCHEMAS_BYTES:
                raise ToolServerFailed(
                    f"The MCP server `{label}` describes its tools in more than"
                    f" {MAX_SCHEMAS_BYTES} bytes."
                )
            if problem is not None:
                self._left_out.append(f"`{shown}`: {problem}")
                continue
            self._tools[tool.name] = self._tool(tool, label)

    def is_full(self, cursor: str | None, following: str) -> bool:
        """Whether to go on is of no use: the server goes round in circles."""
        return cursor == following or self._pages >= MAX_PAGES

    def listing(self) -> Listing:
        """Tell what was found."""
        return Listing(list(self._tools.values()), self._left_out)

    def _problem(self, tool: types.Tool) -> str | None:
        if not NAME.fullmatch(tool.name):
            return "a name has 1 to 64 letters, digits, dots, dashes and underscores"
        if tool.name in self._tools:
            return "there is another tool of this name"
        if tool.input_schema.get("type") != "object":
            return "its schema is not that of an object"
        try:
            arguments.schema(tool.input_schema)
        except InvalidRequest as error:
            return error.message
        return None

    def _tool(self, tool: types.Tool, label: str) -> Tool:
        said = tool.annotations or types.ToolAnnotations()
        described = remote_content.storable(tool.description or "")
        return Tool(
            name=tool.name,
            description=described[:MAX_DESCRIPTION_LENGTH],
            input_schema=tool.input_schema,
            call=self._call(tool.name),
            annotations=Annotations(
                title=remote_content.short(said.title or tool.title or "") or None,
                is_read_only=bool(said.read_only_hint),
                is_destructive=said.destructive_hint is not False,
                is_idempotent=bool(said.idempotent_hint),
                is_open_world=said.open_world_hint is not False,
            ),
            server=label,
        )
