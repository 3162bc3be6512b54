"""Tools: what they are, and the one way to call them.

Whoever lets a model call tools does it here, Jan's own as those of remote servers. A call is held
against the tool's schema and the project's limit, bounded in time, and leaves a row that tells who
called what, for how long, how much and how it ended. A call that comes to nothing is a result that
the model reads, not an error of whoever made the call.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import structlog

from jan import clock
from jan.caller import Caller
from jan.errors import (
    DatabaseUnavailable,
    JanError,
    RateLimited,
    ToolNotConfigured,
    ToolNotFound,
    ToolTimedOut,
)
from jan.limits.buckets import Buckets, Limit
from jan.permissions import Scope
from jan.tools import arguments
from jan.tools.provider import Json
from jan.usage.schemas import ToolCallRow

log = structlog.get_logger("jan.tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """What a client may want to know before it lets a model call a tool. MCP's words."""

    title: str | None = None
    is_read_only: bool = False
    is_destructive: bool = True
    is_idempotent: bool = False
    is_open_world: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call came to."""

    text: str
    """What the model reads."""
    structured: Any = None
    """The same as data, where the tool gives any."""
    is_error: bool = False
    error: JanError | None = None
    """Why there is none, where Jan knows."""

    @classmethod
    def of(cls, error: JanError) -> "Result":
        """Tell the model that, and why, its call came to nothing."""
        again = f" Try again in {error.retry_after_s} seconds." if error.retry_after_s else ""
        return cls(text=f"Error: {error.message}{again}", is_error=True, error=error)


Call = Callable[[Caller, Json], Awaitable[Result]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. `call` gets arguments that fit the schema, and may raise any JanError."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    call: Call
    annotations: Annotations = field(default_factory=Annotations)
    server: str | None = None
    """The remote server that it is on, as usage names it. None: it is Jan's own."""
    timeout_s: float | None = None
    """None: as every tool."""

    @property
    def described(self) -> Json:
        """What can be told and kept of it, by MCP's names for its annotations."""
        said = self.annotations
        return {
            "name": self.name,
            "description": self.description or None,
            "input_schema": self.input_schema,
            "annotations": {
                "title": said.title,
                "readOnlyHint": said.is_read_only,
                "destructiveHint": said.is_destructive,
                "idempotentHint": said.is_idempotent,
                "openWorldHint": said.is_open_world,
            },
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """What a remote server offers."""

    tools: list[Tool]
    left_out: list[str] = field(default_factory=list[str])
    """Why others are not among them, in words."""


class Toolbox:
    """Jan's own tools, and how any tool is called."""

    def __init__(  # noqa: PLR0913 - limits, each by its name
        self,
        tools: Iterable[Tool],
        *,
        buckets: Buckets,
        record: Callable[[ToolCallRow], None],
        calls_per_minute: int,
        timeout_s: float,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        """Make one. `missing` says of tools that need settings which settings those are."""
        self._tools = {tool.name: tool for tool in tools}
        self._buckets = buckets
        self._record = record
        self._limit = Limit("tool calls", burst=calls_per_minute, per_s=calls_per_minute / 60)
        self._timeout_s = timeout_s
        self._missing = dict(missing or {})

    def tools(self) -> Sequence[Tool]:
        """Tell all of Jan's own that are configured. Who may call them is `find`'s to say."""
        return tuple(self._tools.values())

    def find(self, caller: Caller, name: str) -> Tool:
        """Find one of Jan's own.

        Raises:
            ToolNotConfigured: it needs settings; says which.
            ToolNotFound: there is none of this name.
            Forbidden: the caller may call no tools.
        """
        caller.require(Scope.TOOLS_USE)
        if (tool := self._tools.get(name)) is not None:
            return tool
        if name in self._missing:
            raise ToolNotConfigured(
                f"`{name}` is not configured on this Jan. {self._missing[name]}"
            )
        raise ToolNotFound(f"There is no tool `{name[:100]}`.")

    async def call(
        self,
        caller: Caller,
        name: str,
        said: Mapping[str, Any] | str,
        *,
        response_id: str | None = None,
    ) -> Result:
        """Call one of Jan's own.

        Raises:
            ToolNotConfigured, ToolNotFound, Forbidden: as `find`. All else is a result, as `run`.
        """
        return await self.run(caller, self.find(caller, name), said, response_id=response_id)

    async def run(
        self,
        caller: Caller,
        tool: Tool,
        said: Mapping[str, Any] | str,
        *,
        response_id: str | None = None,
    ) -> Result:
        """Call a tool, Jan's own or another, with arguments as a model or a client wrote them.

        Whatever goes wrong is a result, but for mistakes of ours, which fly. `response_id` is what
        the call is made for. When cancelled it ends at once, and still leaves its row.
        """
        row = ToolCallRow(
            organization_id=caller.owning_organization_id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            key_id=caller.key_id,
            tool=tool.name,
            server=tool.server,
            response_id=response_id,
            outcome="failed",
            error_code=JanError.code,
            duration_ms=0,
            request_bytes=0,
            response_bytes=0,
            created_at=clock.now(),
        )
        started_s = clock.monotonic_s()
        try:
            result = await self._made(caller, tool, said, row)
            row.error_code = result.error and result.error.code
            row.response_bytes = len(result.text.encode(errors="replace"))
        except anyio.get_cancelled_exc_class():
            row.outcome, row.error_code = "cancelled", None
            raise
        finally:
            row.duration_ms = (clock.monotonic_s() - started_s) * 1000
            self._record(row)
        return result

    async def _made(
        self, caller: Caller, tool: Tool, said: Mapping[str, Any] | str, row: ToolCallRow
    ) -> Result:
        try:
            checked, row.request_bytes = arguments.read(said)
            await self._admit(caller)
            arguments.schema(tool.input_schema).check(checked)
        except JanError as refusal:
            row.outcome = "refused"
            return Result.of(refusal)
        timeout_s = tool.timeout_s or self._timeout_s
        with anyio.move_on_after(timeout_s):
            try:
                result = await tool.call(caller, checked)
            except JanError as error:
                result = Result.of(error)
            row.outcome = "failed" if result.is_error else "completed"
            return result
        row.outcome = "timed_out"
        words = f"`{tool.name}` did not answer within {timeout_s:g} seconds."
        return Result.of(ToolTimedOut(words))

    async def _admit(self, caller: Caller) -> None:
        """Count the call against its project's limit; without a database, nobody can."""
        subject = caller.project_id or caller.organization_id or caller.kind
        try:
            await self._buckets.take(self._limit.of(subject))
        except RateLimited as refusal:
            raise RateLimited(
                f"This project has used up its {self._limit.burst:g} calls of tools a minute.",
                retry_after_s=refusal.retry_after_s,
            ) from None
        except DatabaseUnavailable as error:
            log.warning("a call of a tool is not counted", reason=error.message)
