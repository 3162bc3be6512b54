"""Keys over HTTP: OpenAI's paths, and `/v1/keys` for all kinds at once.

Source: https://platform.openai.com/docs/api-reference/project-api-keys
"""

from collections.abc import Sequence
from typing import Any, Literal

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from jan import pages
from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.keys import service as keys
from jan.keys import wire
from jan.keys.schemas import ALL, PROJECT_KINDS, Filter
from jan.keys.wire import AnyKeyBody, KeyBody, KeyObject, KeyUpdate, ProjectKeyBody
from jan.pages import Page, Wanted
from jan.permissions import KeyKind, Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.wire import Deleted

KEY = "/{key_id:str}"
ROTATE = KEY + "/rotate"
HAS_ACCESS = {"active": True, "inactive": False}

Asked = Request[Caller, Any, Any]


def routers(key_secret: str) -> Sequence[Router]:
    """Make the routes. `key_secret` is what keys are digested with."""
    return [
        _of_projects(key_secret),
        _of_organization("/v1/organization/admin_api_keys", "admin", key_secret),
        _of_organization("/v1/organization/api_keys", "organization", key_secret),
        _of_all(key_secret),
    ]


def _of_projects(key_secret: str) -> Router:
    def which(project_id: str, has_access: bool | None = None) -> Filter:
        return Filter(
            kinds=PROJECT_KINDS, project_id=project_id, has_revoked=False, has_access=has_access
        )

    @get("/", operation_id="list_project_api_keys")
    async def list_project_api_keys(
        request: Asked,
        project_id: FromPath[str],
        wanted: NamedDependency[Wanted],
        owner_project_access: FromQuery[Literal["active", "inactive", "any"] | None] = None,
    ) -> Page[KeyObject]:
        """List a project's keys: all of them to who administers it, to others their own."""
        meant = which(project_id, HAS_ACCESS.get(owner_project_access or "any"))
        return pages.mapped(await keys.page(caller_of(request), wanted, meant), wire.shown)

    @post("/", operation_id="create_project_api_key", status_code=200)
    async def create_project_api_key(
        request: Asked, project_id: FromPath[str], data: JSONBody[ProjectKeyBody]
    ) -> KeyObject:
        """Create a key for a project. It is in this answer only, as `value`."""
        wanted = wire.wanted(
            data,
            kind=data.kind,
            project_id=project_id,
            service_account_id=data.service_account_id,
        )
        return wire.told(await keys.create(caller_of(request), wanted, hmac_secret=key_secret))

    @get(KEY, operation_id="get_project_api_key")
    async def get_project_api_key(
        request: Asked, project_id: FromPath[str], key_id: FromPath[str]
    ) -> KeyObject:
        """Describe a project's key."""
        return wire.shown(await keys.get(caller_of(request), key_id, which(project_id)))

    @change(KEY, "update_project_api_key")
    async def update_project_api_key(
        request: Asked,
        project_id: FromPath[str],
        key_id: FromPath[str],
        data: JSONBody[KeyUpdate],
    ) -> KeyObject:
        """Change a key's name, scopes, models or expiry. An empty list stands for all."""
        changes = wire.changes(data)
        return wire.shown(await keys.update(caller_of(request), key_id, changes, which(project_id)))

    @delete(KEY, operation_id="delete_project_api_key", status_code=200)
    async def delete_project_api_key(
        request: Asked, project_id: FromPath[str], key_id: FromPath[str]
    ) -> Deleted:
        """Revoke a key. It stops working everywhere within a second, and for good."""
        return wire.deleted(await keys.revoke(caller_of(request), key_id, which(project_id)))

    @post(ROTATE, operation_id="rotate_project_api_key", status_code=200)
    async def rotate_project_api_key(
        request: Asked, project_id: FromPath[str], key_id: FromPath[str]
    ) -> KeyObject:
        """Give your key, or a service account's, a new `value`. The old one stops working."""
        new = await keys.rotate(
            caller_of(request), key_id, hmac_secret=key_secret, which=which(project_id)
        )
        return wire.told(new)

    return _router(
        "/v1/organization/projects/{project_id:str}/api_keys",
        [
            *(list_project_api_keys, create_project_api_key, get_project_api_key),
            *(update_project_api_key, delete_project_api_key, rotate_project_api_key),
        ],
        tag="Project API keys",
    )


def _of_organization(path: str, kind: KeyKind, key_secret: str) -> Router:
    which = Filter(kinds=(kind,), has_revoked=False)

    @get("/", operation_id=f"list_{kind}_api_keys", guards=[requires(Scope.KEYS_READ)])
    async def list_keys(request: Asked, wanted: NamedDependency[Wanted]) -> Page[KeyObject]:
        """List the organization's keys of this kind."""
        return pages.mapped(await keys.page(caller_of(request), wanted, which), wire.shown)

    @post(
        "/",
        operation_id=f"create_{kind}_api_key",
        status_code=200,
        guards=[requires(Scope.KEYS_ADMIN)],
    )
    async def create_key(request: Asked, data: JSONBody[KeyBody]) -> KeyObject:
        """Create a key of this kind. It is in this answer only, as `value`."""
        wanted = wire.wanted(data, kind=kind)
        return wire.told(await keys.create(caller_of(request), wanted, hmac_secret=key_secret))

    @get(KEY, operation_id=f"get_{kind}_api_key", guards=[requires(Scope.KEYS_READ)])
    async def get_key(request: Asked, key_id: FromPath[str]) -> KeyObject:
        """Describe a key of this kind."""
        return wire.shown(await keys.get(caller_of(request), key_id, which))

    @delete(
        KEY,
        operation_id=f"delete_{kind}_api_key",
        status_code=200,
        guards=[requires(Scope.KEYS_ADMIN)],
    )
    async def delete_key(request: Asked, key_id: FromPath[str]) -> Deleted:
        """Revoke a key. It stops working everywhere within a second, and for good."""
        return wire.deleted(await keys.revoke(caller_of(request), key_id, which))

    return _router(path, [list_keys, create_key, get_key, delete_key], tag="Organization API keys")


def _of_all(key_secret: str) -> Router:
    @get("/", operation_id="list_keys")
    async def list_keys(
        request: Asked,
        wanted: NamedDependency[Wanted],
        kind: FromQuery[list[KeyKind] | None] = None,
        project_id: FromQuery[str | None] = None,
        include_revoked: FromQuery[bool] = False,
    ) -> Page[KeyObject]:
        """List all keys that you may see. `kind` may stand there several times."""
        which = Filter(kinds=kind or ALL.kinds, project_id=project_id, has_revoked=include_revoked)
        return pages.mapped(await keys.page(caller_of(request), wanted, which), wire.shown)

    @post("/", operation_id="create_key", status_code=200)
    async def create_key(request: Asked, data: JSONBody[AnyKeyBody]) -> KeyObject:
        """Create a key of any kind. It is in this answer only, as `value`."""
        wanted = wire.wanted(
            data,
            kind=data.kind,
            project_id=data.project_id,
            service_account_id=data.service_account_id,
        )
        return wire.told(await keys.create(caller_of(request), wanted, hmac_secret=key_secret))

    @get(KEY, operation_id="get_key")
    async def get_key(request: Asked, key_id: FromPath[str]) -> KeyObject:
        """Describe a key, also one that was revoked."""
        return wire.shown(await keys.get(caller_of(request), key_id))

    @change(KEY, "update_key")
    async def update_key(
        request: Asked, key_id: FromPath[str], data: JSONBody[KeyUpdate]
    ) -> KeyObject:
        """Change a key's name, scopes, models or expiry. An empty list stands for all."""
        return wire.shown(await keys.update(caller_of(request), key_id, wire.changes(data)))

    @delete(KEY, operation_id="delete_key", status_code=200)
    async def delete_key(request: Asked, key_id: FromPath[str]) -> Deleted:
        """Revoke a key. It stops working everywhere within a second, and for good."""
        return wire.deleted(await keys.revoke(caller_of(request), key_id))

    @post(ROTATE, operation_id="rotate_key", status_code=200)
    async def rotate_key(request: Asked, key_id: FromPath[str]) -> KeyObject:
        """Give your key, or a service account's, a new `value`. The old one stops working."""
        return wire.told(await keys.rotate(caller_of(request), key_id, hmac_secret=key_secret))

    return _router(
        "/v1/keys",
        [list_keys, create_key, get_key, update_key, delete_key, rotate_key],
        tag="API keys",
    )


def _router(path: str, handlers: Sequence[HTTPRouteHandler], *, tag: str) -> Router:
    return Router(
        path,
        route_handlers=handlers,
        dependencies=PAGED,
        guards=[requires(Scope.ADMINISTRATION_USE)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=[tag],
    )
