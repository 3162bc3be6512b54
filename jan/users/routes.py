"""`/v1/users`: the people of this Jan, for who administers it."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, Emails, change
from jan.users import service as users
from jan.users.schemas import User, UserCreate, UserUpdate
from jan.wire import Deleted

USER = "/{user_id:str}"

HashPassword = Callable[[str, str], Awaitable[str]]
"""Makes what is stored of a password that a person of this address chose. Sign-in knows how, which
stands above people. Raises InvalidRequest for a bad one."""


@get("/", operation_id="list_users")
async def list_users(
    request: Request[Caller, Any, Any],
    wanted: NamedDependency[Wanted],
    emails: Emails = None,
) -> Page[User]:
    """List everybody who has an account, guests too; `emails[]`, once or more, says which."""
    return await users.page(caller_of(request), wanted, emails or ())


@get(USER, operation_id="get_user")
async def get_user(request: Request[Caller, Any, Any], user_id: FromPath[str]) -> User:
    """Describe a person."""
    return await users.get(caller_of(request), user_id)


@change(USER, "update_user")
async def update_user(
    request: Request[Caller, Any, Any], user_id: FromPath[str], data: JSONBody[UserUpdate]
) -> User:
    """Rename a person, or lock them out (`is_enabled`: false) or in again."""
    return await users.update(caller_of(request), user_id, data)


@delete(USER, operation_id="delete_user", status_code=200)
async def delete_user(request: Request[Caller, Any, Any], user_id: FromPath[str]) -> Deleted:
    """Delete a person, their own project and their keys."""
    return await users.delete(caller_of(request), user_id)


def router(hash_password: HashPassword) -> Router:
    """Make the routes."""

    @post("/", operation_id="create_user", status_code=200)
    async def create_user(request: Request[Caller, Any, Any], data: JSONBody[UserCreate]) -> User:
        """Give somebody an account. They are in no organization by that."""
        password_hash = None
        if data.password is not None:
            password_hash = await hash_password(data.password, data.email)
        return await users.create(
            caller_of(request), email=data.email, name=data.name or "", password_hash=password_hash
        )

    return Router(
        "/v1/users",
        route_handlers=[list_users, create_user, get_user, update_user, delete_user],
        dependencies=PAGED,
        guards=[requires(Scope.PLATFORM_ADMIN)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Users"],
    )
