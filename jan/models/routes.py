"""What can be asked for: OpenAI's list of models."""

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from jan.inference.catalog import Catalog, Model


class ModelList(msgspec.Struct):
    """All models, in one page."""

    data: list[Model]
    object: str = "list"


def router(catalog: Catalog) -> Router:
    """Make the routes."""

    @get("/", operation_id="list_models")
    async def list_models() -> ModelList:
        """List the models that can be asked for."""
        return ModelList(list(catalog.models))

    @get("/{model_id:path}", operation_id="get_model")
    async def get_model(model_id: FromPath[str]) -> Model:
        """Describe one model. Its id may hold slashes, written plainly or as %2F."""
        return catalog.find(model_id.removeprefix("/"))

    return Router("/v1/models", route_handlers=[list_models, get_model], tags=["Models"])
