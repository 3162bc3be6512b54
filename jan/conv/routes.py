"""`/v1/conv`: workspaces, and chat that knows its conversation. Jan's own."""

from typing import Any, cast

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.params import FromPath, JSONBody
from litestar.types import Receive, Send
from litestar.types import Scope as ASGIScope

from jan import telemetry
from jan.caller import Caller
from jan.conv import service as workspaces
from jan.conv.schemas import (
    InstructionUpdate,
    Workspace,
    WorkspaceCreate,
    WorkspaceList,
    WorkspaceUpdate,
)
from jan.conv.serving import PATH, Talks
from jan.guards import caller_of, requires
from jan.pages import Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.wire import Deleted

ONE = "/{workspace_id:str}"
READS = [requires(Scope.CONVERSATIONS_READ)]
WRITES = [requires(Scope.CONVERSATIONS_WRITE)]

Asked = Request[Caller, Any, Any]


@post("/", operation_id="create_workspace", guards=WRITES)
async def create_workspace(request: Asked, data: JSONBody[WorkspaceCreate]) -> Workspace:
    """Create a workspace. `instruction` is told to the model in all conversations in it."""
    return await workspaces.create(caller_of(request), data)


@get("/", operation_id="list_workspaces", guards=READS)
async def list_workspaces(request: Asked, wanted: NamedDependency[Wanted]) -> WorkspaceList:
    """List your workspaces in the project."""
    return await workspaces.page(caller_of(request), wanted)


@get(ONE, operation_id="get_workspace", guards=READS)
async def get_workspace(request: Asked, workspace_id: FromPath[str]) -> Workspace:
    """Describe a workspace."""
    return await workspaces.get(caller_of(request), workspace_id)


@change(ONE, "update_workspace", guards=WRITES)
async def update_workspace(
    request: Asked, workspace_id: FromPath[str], data: JSONBody[WorkspaceUpdate]
) -> Workspace:
    """Rename a workspace."""
    return await workspaces.update(caller_of(request), workspace_id, data.name)


@change(ONE + "/instruction", "update_workspace_instruction", guards=WRITES)
async def update_workspace_instruction(
    request: Asked, workspace_id: FromPath[str], data: JSONBody[InstructionUpdate]
) -> Workspace:
    """Change what the model is told in all conversations of a workspace. Null or blank: nothing."""
    return await workspaces.instruct(caller_of(request), workspace_id, data.instruction)


@delete(ONE, operation_id="delete_workspace", status_code=200, guards=WRITES)
async def delete_workspace(request: Asked, workspace_id: FromPath[str]) -> Deleted:
    """Delete a workspace, with all conversations in it."""
    return await workspaces.delete(caller_of(request), workspace_id)


def workspace_router() -> Router:
    """Make the routes of workspaces."""
    return Router(
        "/v1/conv/workspaces",
        route_handlers=[
            *(create_workspace, list_workspaces, get_workspace, update_workspace),
            *(update_workspace_instruction, delete_workspace),
        ],
        dependencies=PAGED,
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Workspaces"],
    )


def chat_handler(talks: Talks) -> ASGIRouteHandler:
    """Make the handler of chat. A bare ASGI one, as the data plane's and for the same reason."""

    async def talk(scope: ASGIScope, receive: Receive, send: Send) -> None:
        plain = cast("dict[str, Any]", scope)
        telemetry.exchange_of(plain).is_metered = True
        if plain["method"] != "POST":
            raise MethodNotAllowedException(headers={"allow": "POST"})
        await talks.serve(plain, receive, cast("Any", send))

    return asgi(PATH, name=PATH, copy_scope=False)(talk)
