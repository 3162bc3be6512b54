"""`/v1/organization/projects`: projects, their people and service accounts, as in OpenAI's API.

A service account is created in `jan.keys.accounts`, with its key.
Source: https://platform.openai.com/docs/api-reference/projects
"""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.projects import accounts, members
from jan.projects import service as projects
from jan.projects.schemas import (
    Project,
    ProjectCreate,
    ProjectUpdate,
    ProjectUser,
    ProjectUserCreate,
    ProjectUserUpdate,
    ServiceAccount,
    ServiceAccountUpdate,
)
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.wire import Deleted

PATH = "/v1/organization/projects"
ONE = "/{project_id:str}"
USERS = ONE + "/users"
USER = USERS + "/{user_id:str}"
ACCOUNTS = ONE + "/service_accounts"
ACCOUNT = ACCOUNTS + "/{service_account_id:str}"


@get("/", operation_id="list_projects")
async def list_projects(
    request: Request[Caller, Any, Any],
    wanted: NamedDependency[Wanted],
    include_archived: FromQuery[bool] = False,
) -> Page[Project]:
    """List the projects of the organization that you may see, archived ones only on request."""
    return await projects.page(caller_of(request), wanted, has_archived=include_archived)


@post(
    "/",
    operation_id="create_project",
    status_code=200,
    guards=[requires(Scope.PROJECTS_WRITE)],
)
async def create_project(
    request: Request[Caller, Any, Any], data: JSONBody[ProjectCreate]
) -> Project:
    """Create a project in the organization. You become its owner."""
    return await projects.create(caller_of(request), data.name)


@get(ONE, operation_id="get_project")
async def get_project(request: Request[Caller, Any, Any], project_id: FromPath[str]) -> Project:
    """Describe a project. Your own, which is in no list, is found by its id, too."""
    return await projects.get(caller_of(request), project_id)


@change(ONE, "update_project")
async def update_project(
    request: Request[Caller, Any, Any], project_id: FromPath[str], data: JSONBody[ProjectUpdate]
) -> Project:
    """Rename a project."""
    return await projects.update(caller_of(request), project_id, data.name)


@post(ONE + "/archive", operation_id="archive_project", status_code=200)
async def archive_project(request: Request[Caller, Any, Any], project_id: FromPath[str]) -> Project:
    """Archive a project: its keys stop working, and nothing in it changes. There is no way back."""
    return await projects.archive(caller_of(request), project_id)


@get(USERS, operation_id="list_project_users")
async def list_project_users(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    wanted: NamedDependency[Wanted],
) -> Page[ProjectUser]:
    """List who is in a project."""
    return await members.page(caller_of(request), project_id, wanted)


@post(USERS, operation_id="create_project_user", status_code=200)
async def create_project_user(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    data: JSONBody[ProjectUserCreate],
) -> ProjectUser:
    """Add a member of the organization to a project."""
    return await members.add(caller_of(request), project_id, data)


@get(USER, operation_id="get_project_user")
async def get_project_user(
    request: Request[Caller, Any, Any], project_id: FromPath[str], user_id: FromPath[str]
) -> ProjectUser:
    """Describe a person in a project."""
    return await members.get(caller_of(request), project_id, user_id)


@change(USER, "update_project_user")
async def update_project_user(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    user_id: FromPath[str],
    data: JSONBody[ProjectUserUpdate],
) -> ProjectUser:
    """Give a person another role in a project."""
    return await members.update(caller_of(request), project_id, user_id, data.role)


@delete(USER, operation_id="delete_project_user", status_code=200)
async def delete_project_user(
    request: Request[Caller, Any, Any], project_id: FromPath[str], user_id: FromPath[str]
) -> Deleted:
    """Take a person out of a project. Their keys for it stop working."""
    return await members.remove(caller_of(request), project_id, user_id)


@get(ACCOUNTS, operation_id="list_service_accounts")
async def list_service_accounts(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    wanted: NamedDependency[Wanted],
) -> Page[ServiceAccount]:
    """List a project's service accounts."""
    return await accounts.page(caller_of(request), project_id, wanted)


@get(ACCOUNT, operation_id="get_service_account")
async def get_service_account(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    service_account_id: FromPath[str],
) -> ServiceAccount:
    """Describe a service account."""
    return await accounts.get(caller_of(request), project_id, service_account_id)


@change(ACCOUNT, "update_service_account")
async def update_service_account(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    service_account_id: FromPath[str],
    data: JSONBody[ServiceAccountUpdate],
) -> ServiceAccount:
    """Rename a service account, or give it another role."""
    return await accounts.update(caller_of(request), project_id, service_account_id, data)


@delete(ACCOUNT, operation_id="delete_service_account", status_code=200)
async def delete_service_account(
    request: Request[Caller, Any, Any],
    project_id: FromPath[str],
    service_account_id: FromPath[str],
) -> Deleted:
    """Delete a service account and its keys."""
    return await accounts.delete(caller_of(request), project_id, service_account_id)


def router() -> Router:
    """Make the routes. What may be done in one project is decided there."""
    return Router(
        PATH,
        route_handlers=[
            *(list_projects, create_project, get_project, update_project, archive_project),
            *(list_project_users, create_project_user, get_project_user),
            *(update_project_user, delete_project_user),
            *(list_service_accounts, get_service_account),
            *(update_service_account, delete_service_account),
        ],
        dependencies=PAGED,
        guards=[requires(Scope.ADMINISTRATION_USE)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Projects"],
    )
