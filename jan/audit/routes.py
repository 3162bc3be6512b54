"""The audit log over HTTP: OpenAI's list, and the complete rows for whoever checks them."""

from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.params import FromQuery

from jan import pages
from jan.audit import service as audit
from jan.audit import wire
from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.pages import Page
from jan.permissions import Scope

JSON_LINES = "application/jsonl"


def router() -> Router:
    """Make the routes."""

    @get("/", operation_id="list_audit_logs")
    async def list_audit_logs(  # noqa: PLR0913, PLR0917 - as many as a list has parameters
        request: Request[Caller, Any, Any],
        limit: FromQuery[int | None] = None,
        after: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        order: FromQuery[str | None] = None,
        last: FromQuery[str | None] = None,
        chain: FromQuery[str | None] = None,
    ) -> Page[Any]:
        """List what was done in the organization, the latest first.

        `chain` is for who administers all of this Jan: the id of another organization, or `jan` for
        what people do outside of any.

        Filters: `effective_at[gt|gte|lt|lte]`, `event_types[]`, `project_ids[]`, `actor_ids[]`,
        `actor_emails[]`, `resource_ids[]`.
        """
        wanted = pages.read(limit, after, before, order, last, default_order="desc")
        which = wire.read_filter(request.query_params.dict())
        acts = await audit.page(caller_of(request), wanted, which, chain=chain)
        return pages.mapped(acts, wire.shown)

    @get("/export", operation_id="export_audit_logs", media_type=JSON_LINES)
    async def export_audit_logs(
        request: Request[Caller, Any, Any],
        after: FromQuery[int] = 0,
        limit: FromQuery[int] = audit.MAX_EXPORTED,
        chain: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        """Give the next rows of the log, complete, a line each, the oldest first.

        `after` is the `sequence` of the last line that is known; an empty answer is the end. Each
        row is covered by its `hash`: whoever has all of them can compute it anew.
        """
        links = await audit.export(caller_of(request), chain=chain, after=after, limit=limit)
        lines = b"".join(msgspec.json.encode(link) + b"\n" for link in links)
        return Response(lines, media_type=JSON_LINES)

    return Router(
        "/v1/organization/audit_logs",
        route_handlers=[list_audit_logs, export_audit_logs],
        guards=[requires(Scope.AUDIT_READ)],
        tags=["Audit logs"],
    )
