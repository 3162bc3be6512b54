"""`/v1/admin/plan`: what fits where, and why not."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import FromQuery, QueryParameter

from jan.caller import Caller
from jan.fleet import plans
from jan.fleet.plans import Plans
from jan.guards import caller_of, requires
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES
from jan.settings import Settings

Models = Annotated[list[str] | None, QueryParameter(name="model")]
"""Models that are planned besides those that are deployed, once for each."""


def router(settings: Settings) -> Router:
    """Make the route."""

    @get("/", operation_id="get_plan")
    async def get_plan(
        request: Request[Caller, Any, Any],
        node: FromQuery[str | None] = None,
        model: Models = None,
    ) -> Plans:
        """Tell what fits on each node, where, with how much memory; and why something does not.

        For what is deployed there, and for models (`model`, once or more) that might be.
        """
        return await plans.page(
            caller_of(request), home=settings.home, node=node, models=model or ()
        )

    return Router(
        "/v1/admin/plan",
        route_handlers=[get_plan],
        guards=[requires(Scope.PLATFORM_ADMIN)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Fleet"],
    )
