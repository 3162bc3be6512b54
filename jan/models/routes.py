"""What can be asked for: OpenAI's list of models."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Router, get
from litestar.params import FromPath

from jan.caller import Caller
from jan.guards import requires
from jan.inference.catalog import Catalog, Model
from jan.permissions import Scope


class ModelList(msgspec.Struct):
    """All models, in one page."""

    data: Sequence[Model]
    object: str = "list"


def router(catalog: Catalog, path: str = "/v1/models", suffix: str = "") -> Router:
    """Make the routes. Who has them elsewhere as well gives their names a suffix."""

    @get("/", operation_id=f"list_models{suffix}")
    async def list_models(request: Request[Caller, Any, Any]) -> ModelList:
        """List the models that can be asked for."""
        return ModelList(catalog.usable(request.user))

    @get("/{model_id:path}", operation_id=f"get_model{suffix}")
    async def get_model(request: Request[Caller, Any, Any], model_id: FromPath[str]) -> Model:
        """Describe one model. Its id may hold slashes, written plainly or as %2F."""
        return catalog.described(model_id.removeprefix("/"), request.user)

    return Router(
        path,
        route_handlers=[list_models, get_model],
        guards=[requires(Scope.MODELS_READ)],
        tags=["Models"],
    )
