"""`/v1/organization/invites`, as in OpenAI's API; and how an invite is accepted.

Whoever accepts has nothing but the code, so that route is apart from the others.
Source: https://platform.openai.com/docs/api-reference/invite
"""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from jan import clients
from jan.auth.people import Visitor
from jan.caller import Caller
from jan.guards import MAX_USER_AGENT_LENGTH, caller_of, requires
from jan.invites import acceptance
from jan.invites import service as invites
from jan.invites.means import Means
from jan.invites.schemas import Acceptance, AcceptedInvite, Invite, InviteCreate
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED
from jan.wire import Deleted

PATH = "/v1/organization/invites"
ONE = "/{invite_id:str}"

CallerRequest = Request[Caller, Any, Any]


def router(means: Means) -> Router:
    """Make the routes of who invites."""
    inviting = requires(Scope.INVITES_ADMIN)
    reading = requires(Scope.ORGANIZATION_READ)

    @get("/", operation_id="list_invites", guards=[reading])
    async def list_invites(request: CallerRequest, wanted: NamedDependency[Wanted]) -> Page[Invite]:
        """List the organization's invites, accepted and expired ones included."""
        return await invites.page(caller_of(request), wanted)

    @post("/", operation_id="create_invite", status_code=200, guards=[inviting])
    async def create_invite(request: CallerRequest, data: JSONBody[InviteCreate]) -> Invite:
        """Invite somebody by mail. Without a mail server the answer has the `link` to hand on."""
        return await invites.create(caller_of(request), data, means=means)

    @get(ONE, operation_id="get_invite", guards=[reading])
    async def get_invite(request: CallerRequest, invite_id: FromPath[str]) -> Invite:
        """Describe an invite."""
        return await invites.get(caller_of(request), invite_id)

    @delete(ONE, operation_id="delete_invite", status_code=200, guards=[inviting])
    async def delete_invite(request: CallerRequest, invite_id: FromPath[str]) -> Deleted:
        """Take back an invite that nobody has accepted. Its link is void."""
        return await invites.delete(caller_of(request), invite_id)

    @post(ONE + "/resend", operation_id="resend_invite", status_code=200, guards=[inviting])
    async def resend_invite(request: CallerRequest, invite_id: FromPath[str]) -> Invite:
        """Send an invite again, for another seven days. The link that was sent before is void."""
        return await invites.resend(caller_of(request), invite_id, means=means)

    return Router(
        PATH,
        route_handlers=[list_invites, create_invite, get_invite, delete_invite, resend_invite],
        dependencies=PAGED,
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Invites"],
    )


def open_to_all(means: Means) -> Router:
    """Make the route of who is invited."""

    @post("/verification", operation_id="verify_invite", status_code=200)
    async def verify_invite(
        request: Request[Any, Any, Any], data: JSONBody[Acceptance]
    ) -> AcceptedInvite:
        """Accept an invite with the code of its link. Signing in is another matter."""
        agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT_LENGTH]
        visitor = Visitor(clients.address_of(request.scope), agent)
        return await acceptance.accept(visitor, data, means=means)

    return Router(
        PATH,
        route_handlers=[verify_invite],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Invites"],
    )
