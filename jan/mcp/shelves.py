"""The shelves of resources: which documents there are, and how they are read."""

import msgspec

from jan.caller import Caller
from jan.inference.catalog import Catalog
from jan.mcp.schemas import Entries, Entry
from jan.permissions import Scope


class Models:
    """The models that the caller may use."""

    name = "models"
    about = "A model that can be asked, as /v1/models describes it."
    template = "{+id}"
    needed = Scope.MODELS_READ

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List them all: there are few."""
        allowed = caller.allowed_models
        known = [each.id for each in self._catalog.models if allowed is None or each.id in allowed]
        begin = known.index(after) + 1 if after in known else 0
        shown = known[begin : begin + limit]
        return Entries([Entry(each) for each in shown], has_more=begin + limit < len(known))

    async def read(self, caller: Caller, document_id: str) -> bytes:
        """Describe one."""
        return msgspec.json.encode(self._catalog.find(document_id, caller.allowed_models))
