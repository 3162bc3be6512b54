"""Which models projects and organizations may use; and projects' weights at busy ones."""

from typing import Any

from litestar import Request, Router, delete, get, post, route
from litestar.params import FromPath, JSONBody

from jan.caller import Caller
from jan.fleet import allowances
from jan.fleet.allowances import (
    ModelPermissions,
    ModelPermissionsDeleted,
    ModelPermissionsUpdate,
    OrganizationModels,
    OrganizationModelsUpdate,
    QueueWeight,
    QueueWeightUpdate,
)
from jan.guards import caller_of, requires
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES

Asked = Request[Caller, Any, Any]


@get("/", operation_id="get_project_model_permissions")
async def get_project_model_permissions(
    request: Asked, project_id: FromPath[str]
) -> ModelPermissions:
    """Tell which models a project may use. Nothing said: an empty list of denied ones."""
    return await allowances.get(caller_of(request), project_id)


@post("/", operation_id="update_project_model_permissions", status_code=200)
async def update_project_model_permissions(
    request: Asked, project_id: FromPath[str], data: JSONBody[ModelPermissionsUpdate]
) -> ModelPermissions:
    """Say which models a project may use, of those that its organization may."""
    return await allowances.update(caller_of(request), project_id, data)


@delete("/", operation_id="delete_project_model_permissions", status_code=200)
async def delete_project_model_permissions(
    request: Asked, project_id: FromPath[str]
) -> ModelPermissionsDeleted:
    """Let a project use all models that its organization may."""
    return await allowances.delete(caller_of(request), project_id)


@get("/", operation_id="get_organization_models")
async def get_organization_models(
    request: Asked, organization_id: FromPath[str]
) -> OrganizationModels:
    """Tell which models an organization may use."""
    return await allowances.of_organization(caller_of(request), organization_id)


@route("/", http_method=["POST", "PATCH"], operation_id="set_organization_models", status_code=200)
async def set_organization_models(
    request: Asked, organization_id: FromPath[str], data: JSONBody[OrganizationModelsUpdate]
) -> OrganizationModels:
    """Say which models an organization may use. Null: all."""
    return await allowances.set_of_organization(caller_of(request), organization_id, data)


@get("/", operation_id="get_project_queue_weight")
async def get_project_queue_weight(request: Asked, project_id: FromPath[str]) -> QueueWeight:
    """Tell how many turns a project gets at a busy model beside one with 1."""
    return await allowances.weight(caller_of(request), project_id)


@post("/", operation_id="set_project_queue_weight", status_code=200)
async def set_project_queue_weight(
    request: Asked, project_id: FromPath[str], data: JSONBody[QueueWeightUpdate]
) -> QueueWeight:
    """Say how many turns a project gets at a busy model beside one with 1."""
    return await allowances.set_weight(caller_of(request), project_id, data)


def routers() -> list[Router]:
    """Make the routes."""
    return [
        _router(
            "/v1/organization/projects/{project_id:str}/model_permissions",
            Scope.ADMINISTRATION_USE,
            *(get_project_model_permissions, update_project_model_permissions),
            delete_project_model_permissions,
        ),
        _router(
            "/v1/admin/organizations/{organization_id:str}/models",
            Scope.PLATFORM_ADMIN,
            *(get_organization_models, set_organization_models),
        ),
        _router(
            "/v1/admin/projects/{project_id:str}/queue_weight",
            Scope.PLATFORM_ADMIN,
            *(get_project_queue_weight, set_project_queue_weight),
        ),
    ]


def _router(path: str, needed: Scope, *handlers: Any) -> Router:
    return Router(
        path,
        route_handlers=handlers,
        guards=[requires(needed)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Projects"],
    )
