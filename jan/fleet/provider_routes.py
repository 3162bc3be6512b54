"""`/v1/admin/providers`: who serves models, and at which addresses."""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from jan.caller import Caller
from jan.fleet import providers, trials
from jan.fleet.credentials import ProviderKeys
from jan.fleet.provided import (
    Check,
    EndpointCreate,
    EndpointObject,
    EndpointUpdate,
    ProviderCreate,
    ProviderObject,
    ProviderUpdate,
)
from jan.guards import caller_of, requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.wire import Deleted

PATH = "/v1/admin/providers"
ONE = "/{provider_id:str}"
ENDPOINTS = ONE + "/endpoints"
ENDPOINT = ENDPOINTS + "/{endpoint_id:str}"

Asked = Request[Caller, Any, Any]


def router(key_secret: str) -> Router:
    """Make the routes. A provider's name does for its id."""
    keys = ProviderKeys(key_secret)

    @get("/", operation_id="list_providers")
    async def list_providers(
        request: Asked, wanted: NamedDependency[Wanted]
    ) -> Page[ProviderObject]:
        """List who serves models, and how their endpoints are."""
        return await providers.page(caller_of(request), wanted)

    @post("/", operation_id="create_provider", status_code=200)
    async def create_provider(request: Asked, data: JSONBody[ProviderCreate]) -> ProviderObject:
        """Register a server that speaks OpenAI's protocol. Its API key is kept sealed."""
        return await providers.create(caller_of(request), data, keys=keys)

    @get(ONE, operation_id="get_provider")
    async def get_provider(request: Asked, provider_id: FromPath[str]) -> ProviderObject:
        """Describe a provider and its endpoints."""
        return await providers.get(caller_of(request), provider_id)

    @change(ONE, "update_provider")
    async def update_provider(
        request: Asked, provider_id: FromPath[str], data: JSONBody[ProviderUpdate]
    ) -> ProviderObject:
        """Change a provider, or give it another API key."""
        return await providers.update(caller_of(request), provider_id, data, keys=keys)

    @delete(ONE, operation_id="delete_provider", status_code=200)
    async def delete_provider(request: Asked, provider_id: FromPath[str]) -> Deleted:
        """Forget a provider, its endpoints and its API key."""
        return await providers.delete(caller_of(request), provider_id)

    @post(ONE + "/check", operation_id="check_provider", status_code=200)
    async def check_provider(request: Asked, provider_id: FromPath[str]) -> Check:
        """Ask each endpoint for its models now."""
        return await trials.check(caller_of(request), provider_id, keys=keys)

    @post(ENDPOINTS, operation_id="create_provider_endpoint", status_code=200)
    async def create_provider_endpoint(
        request: Asked, provider_id: FromPath[str], data: JSONBody[EndpointCreate]
    ) -> EndpointObject:
        """Add an address at which the provider answers, too. Its API key is sent there."""
        return await providers.add_endpoint(caller_of(request), provider_id, data, keys=keys)

    @change(ENDPOINT, "update_provider_endpoint")
    async def update_provider_endpoint(
        request: Asked,
        provider_id: FromPath[str],
        endpoint_id: FromPath[str],
        data: JSONBody[EndpointUpdate],
    ) -> EndpointObject:
        """Change how much work an endpoint gets, or switch it off."""
        return await providers.update_endpoint(caller_of(request), provider_id, endpoint_id, data)

    @delete(ENDPOINT, operation_id="delete_provider_endpoint", status_code=200)
    async def delete_provider_endpoint(
        request: Asked, provider_id: FromPath[str], endpoint_id: FromPath[str]
    ) -> Deleted:
        """Forget an address."""
        return await providers.remove_endpoint(caller_of(request), provider_id, endpoint_id)

    return Router(
        PATH,
        route_handlers=[
            *(list_providers, create_provider, get_provider, update_provider, delete_provider),
            *(check_provider, create_provider_endpoint, update_provider_endpoint),
            delete_provider_endpoint,
        ],
        dependencies=PAGED,
        guards=[requires(Scope.PLATFORM_ADMIN)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Fleet"],
    )
