"""The route that makes a service account and its key. The others are in `jan.projects.routes`."""

from typing import Any

from litestar import Request, Router, post
from litestar.params import FromPath, JSONBody

from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.keys import accounts
from jan.keys.accounts import ServiceAccountCreate, ServiceAccountCreated
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES


def router(hmac_secret: str) -> Router:
    """Make the route."""

    @post(
        "/{project_id:str}/service_accounts",
        operation_id="create_service_account",
        status_code=200,
    )
    async def create_service_account(
        request: Request[Caller, Any, Any],
        project_id: FromPath[str],
        data: JSONBody[ServiceAccountCreate],
    ) -> ServiceAccountCreated:
        """Create a service account in a project, and its API key, which is in this answer only."""
        return await accounts.create(caller_of(request), project_id, data, hmac_secret=hmac_secret)

    return Router(
        "/v1/organization/projects",
        route_handlers=[create_service_account],
        guards=[requires(Scope.ADMINISTRATION_USE)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Projects"],
    )
