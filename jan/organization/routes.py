"""`/v1/organization/users` as in OpenAI's API, and Jan's own `/v1/organizations`.

Source: https://platform.openai.com/docs/api-reference/users
"""

from collections.abc import Sequence
from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.organization import members
from jan.organization import service as organizations
from jan.organization.schemas import (
    MemberAdd,
    MemberUpdate,
    Organization,
    OrganizationCreate,
    OrganizationUpdate,
    OrganizationUser,
)
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, Emails, change
from jan.wire import Deleted

ORGANIZATION = "/{organization_id:str}"
USER = "/{user_id:str}"


@get("/", operation_id="list_organization_users", guards=[requires(Scope.ORGANIZATION_READ)])
async def list_organization_users(
    request: Request[Caller, Any, Any],
    wanted: NamedDependency[Wanted],
    emails: Emails = None,
) -> Page[OrganizationUser]:
    """List who is in the organization; `emails[]`, once or more, says which of them."""
    return await members.page(caller_of(request), wanted, emails or ())


@post(
    "/",
    operation_id="create_organization_user",
    status_code=200,
    guards=[requires(Scope.PLATFORM_ADMIN)],
)
async def create_organization_user(
    request: Request[Caller, Any, Any], data: JSONBody[MemberAdd]
) -> OrganizationUser:
    """Add somebody who has an account, without an invite: for administrators of this Jan only."""
    return await members.add(caller_of(request), data)


@get(USER, operation_id="get_organization_user", guards=[requires(Scope.ORGANIZATION_READ)])
async def get_organization_user(
    request: Request[Caller, Any, Any], user_id: FromPath[str]
) -> OrganizationUser:
    """Describe a member of the organization."""
    return await members.get(caller_of(request), user_id)


@change(USER, "update_organization_user", guards=[requires(Scope.MEMBERS_ADMIN)])
async def update_organization_user(
    request: Request[Caller, Any, Any], user_id: FromPath[str], data: JSONBody[MemberUpdate]
) -> OrganizationUser:
    """Give a member another role. The last owner stays one."""
    return await members.update(caller_of(request), user_id, data.role)


@delete(
    USER,
    operation_id="delete_organization_user",
    status_code=200,
    guards=[requires(Scope.MEMBERS_ADMIN)],
)
async def delete_organization_user(
    request: Request[Caller, Any, Any], user_id: FromPath[str]
) -> Deleted:
    """Take a person out of the organization and its projects. Their keys in it are deleted."""
    return await members.remove(caller_of(request), user_id)


@get("/", operation_id="list_organizations")
async def list_organizations(
    request: Request[Caller, Any, Any], wanted: NamedDependency[Wanted]
) -> Page[Organization]:
    """List the organizations that you are in; as an administrator of this Jan, all of them."""
    return await organizations.page(caller_of(request), wanted)


@post(
    "/",
    operation_id="create_organization",
    status_code=200,
    guards=[requires(Scope.PLATFORM_ADMIN)],
)
async def create_organization(
    request: Request[Caller, Any, Any], data: JSONBody[OrganizationCreate]
) -> Organization:
    """Create an organization. You own it, or whoever `owner_email` names."""
    return await organizations.create(caller_of(request), data)


@get(ORGANIZATION, operation_id="get_organization")
async def get_organization(
    request: Request[Caller, Any, Any], organization_id: FromPath[str]
) -> Organization:
    """Describe an organization."""
    return await organizations.get(caller_of(request), organization_id)


@change(ORGANIZATION, "update_organization")
async def update_organization(
    request: Request[Caller, Any, Any],
    organization_id: FromPath[str],
    data: JSONBody[OrganizationUpdate],
) -> Organization:
    """Rename an organization that you own, or say for how many days it keeps what was said."""
    return await organizations.update(caller_of(request), organization_id, data)


@delete(ORGANIZATION, operation_id="delete_organization", status_code=200)
async def delete_organization(
    request: Request[Caller, Any, Any],
    organization_id: FromPath[str],
    confirm: FromQuery[str | None] = None,
) -> Deleted:
    """Delete an organization that you own, and all that is in it. `confirm` is its name."""
    return await organizations.delete(caller_of(request), organization_id, confirmed_name=confirm)


def routers() -> Sequence[Router]:
    """Make the routes."""
    return [
        Router(
            "/v1/organization/users",
            route_handlers=[
                *(list_organization_users, create_organization_user, get_organization_user),
                *(update_organization_user, delete_organization_user),
            ],
            dependencies=PAGED,
            request_max_body_size=MAX_BODY_BYTES,
            tags=["Organization"],
        ),
        Router(
            "/v1/organizations",
            route_handlers=[
                *(list_organizations, create_organization, get_organization),
                *(update_organization, delete_organization),
            ],
            dependencies=PAGED,
            guards=[requires(Scope.ADMINISTRATION_USE)],
            request_max_body_size=MAX_BODY_BYTES,
            tags=["Organizations"],
        ),
    ]
