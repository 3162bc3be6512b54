"""`/v1/admin/deployments` and `/v1/admin/nodes`: which models run where."""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from jan.caller import Caller
from jan.fleet import deployments, nodes
from jan.fleet.deployed import DeploymentCreate, DeploymentObject, DeploymentUpdate, NodeObject
from jan.fleet.nodes import Here
from jan.guards import caller_of, requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.settings import Settings
from jan.wire import Deleted

PATH = "/v1/admin/deployments"
ONE = "/{deployment_id:str}"

Asked = Request[Caller, Any, Any]


def routers(settings: Settings) -> list[Router]:
    """Make the routes."""
    here = Here(settings.home)

    @get("/", operation_id="list_deployments")
    async def list_deployments(
        request: Asked,
        wanted: NamedDependency[Wanted],
        node: FromQuery[str | None] = None,
        model: FromQuery[str | None] = None,
    ) -> Page[DeploymentObject]:
        """List what is to run, on all nodes or on one, and how far it is."""
        return await deployments.page(caller_of(request), wanted, node=node, model=model)

    @post("/", operation_id="create_deployment", status_code=200)
    async def create_deployment(
        request: Asked, data: JSONBody[DeploymentCreate]
    ) -> DeploymentObject:
        """Have a model run on a node. `status` and `message` tell how far it is."""
        return await deployments.create(caller_of(request), data, here=here)

    @get(ONE, operation_id="get_deployment")
    async def get_deployment(request: Asked, deployment_id: FromPath[str]) -> DeploymentObject:
        """Describe a deployment and its engines."""
        return await deployments.get(caller_of(request), deployment_id)

    @change(ONE, "update_deployment")
    async def update_deployment(
        request: Asked, deployment_id: FromPath[str], data: JSONBody[DeploymentUpdate]
    ) -> DeploymentObject:
        """Change how a model runs. Engines that would have to start anew for it are replaced."""
        return await deployments.update(caller_of(request), deployment_id, data)

    @delete(ONE, operation_id="delete_deployment", status_code=200)
    async def delete_deployment(request: Asked, deployment_id: FromPath[str]) -> Deleted:
        """Unload a model, and forget that it was to run."""
        return await deployments.delete(caller_of(request), deployment_id)

    @post(ONE + "/reload", operation_id="reload_deployment", status_code=200)
    async def reload_deployment(request: Asked, deployment_id: FromPath[str]) -> DeploymentObject:
        """Replace its engines with new ones. With `replace: surge` no request fails by it."""
        return await deployments.reload(caller_of(request), deployment_id)

    @post(ONE + "/load", operation_id="load_deployment", status_code=200)
    async def load_deployment(request: Asked, deployment_id: FromPath[str]) -> DeploymentObject:
        """Load a model that was unloaded, sleeps or failed."""
        return await deployments.load(caller_of(request), deployment_id)

    @post(ONE + "/unload", operation_id="unload_deployment", status_code=200)
    async def unload_deployment(request: Asked, deployment_id: FromPath[str]) -> DeploymentObject:
        """Stop its engines, after what they do, until it is loaded again."""
        return await deployments.unload(caller_of(request), deployment_id)

    @get("/", operation_id="list_nodes")
    async def list_nodes(request: Asked, wanted: NamedDependency[Wanted]) -> Page[NodeObject]:
        """List the machines that run engines, with their hardware."""
        return await nodes.page(caller_of(request), wanted)

    return [
        _router(
            PATH,
            *(list_deployments, create_deployment, get_deployment, update_deployment),
            *(delete_deployment, reload_deployment, load_deployment, unload_deployment),
        ),
        _router("/v1/admin/nodes", list_nodes),
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
