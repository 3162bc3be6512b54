"""`/v1/admin/models` and `/v1/admin/aliases`: what is said of models, and their other names."""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from jan.caller import Caller
from jan.fleet import models
from jan.fleet.described import AliasCreate, AliasObject, ModelObject, ModelUpdate
from jan.guards import caller_of, requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.wire import Deleted

Asked = Request[Caller, Any, Any]

ONE = "/{name:path}"
"""A model's name may have slashes in it."""


@get("/", operation_id="list_registry_models")
async def list_registry_models(
    request: Asked, wanted: NamedDependency[Wanted]
) -> Page[ModelObject]:
    """List models that are served or of which something is said, with who lists them."""
    return await models.page(caller_of(request), wanted)


@get(ONE, operation_id="get_registry_model")
async def get_registry_model(request: Asked, name: FromPath[str]) -> ModelObject:
    """Describe one: prices, capabilities, what stands in for it, and who lists it."""
    return await models.get(caller_of(request), name.removeprefix("/"))


@change(ONE, "update_registry_model")
async def update_registry_model(
    request: Asked, name: FromPath[str], data: JSONBody[ModelUpdate]
) -> ModelObject:
    """Say something of a model, which need not be served yet."""
    return await models.update(caller_of(request), name.removeprefix("/"), data)


@delete(ONE, operation_id="delete_registry_model", status_code=200)
async def delete_registry_model(request: Asked, name: FromPath[str]) -> Deleted:
    """Take back all that is said of a model."""
    return await models.delete(caller_of(request), name.removeprefix("/"))


@get("/", operation_id="list_model_aliases")
async def list_model_aliases(request: Asked, wanted: NamedDependency[Wanted]) -> Page[AliasObject]:
    """List other names of models."""
    return await models.aliases(caller_of(request), wanted)


@post("/", operation_id="set_model_alias", status_code=200)
async def set_model_alias(request: Asked, data: JSONBody[AliasCreate]) -> AliasObject:
    """Give a model another name, or have that name stand for another model."""
    return await models.set_alias(caller_of(request), data)


@delete(ONE, operation_id="delete_model_alias", status_code=200)
async def delete_model_alias(request: Asked, name: FromPath[str]) -> Deleted:
    """Take another name away."""
    return await models.delete_alias(caller_of(request), name.removeprefix("/"))


def routers() -> list[Router]:
    """Make the routes."""
    return [
        _router(
            "/v1/admin/models",
            *(list_registry_models, get_registry_model, update_registry_model),
            delete_registry_model,
        ),
        _router("/v1/admin/aliases", list_model_aliases, set_model_alias, delete_model_alias),
    ]


def _router(path: str, *handlers: Any) -> Router:
    return Router(
        path,
        route_handlers=handlers,
        dependencies=PAGED,
        guards=[requires(Scope.PLATFORM_ADMIN)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Fleet"],
    )
