"""What routes to things have in common: lists in pages, changes by PATCH or POST, small bodies."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from litestar import route
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from jan import pages
from jan.pages import Wanted

MAX_BODY_BYTES = 65_536
"""Of a body that makes or changes one thing. The longest of them has some names in it."""

Emails = Annotated[list[str] | None, QueryParameter(name="emails[]")]
"""Addresses that a list is narrowed to, as OpenAI's SDK writes them into a URL."""


def _reader(default_order: Literal["asc", "desc"]) -> Callable[..., Wanted]:
    def wanted(
        limit: FromQuery[int | None] = None,
        after: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        order: FromQuery[str | None] = None,
        last: FromQuery[str | None] = None,
    ) -> Wanted:
        """Read which page of a list a URL means. Raises as `jan.pages.read`."""
        return pages.read(limit, after, before, order, last, default_order=default_order)

    return wanted


PAGED = {"wanted": Provide(_reader("asc"), sync_to_thread=False)}
"""Dependencies of a router with lists: their handlers take `wanted`."""
PAGED_LATEST_FIRST = {"wanted": Provide(_reader("desc"), sync_to_thread=False)}
"""The same, of lists whose order is the other one unless the client says which it wants."""


def change(
    path: str, operation_id: str, **more: Any
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make the decorator of a handler that changes a thing: by PATCH, or by POST as OpenAI has it.

    An operation's id names one method, so that POST's has a suffix.
    """

    def named(_: HTTPRouteHandler, method: Method, __: list[str | PathParameterDefinition]) -> str:
        return operation_id if method == HttpMethod.PATCH else f"{operation_id}_by_post"

    return route(
        path,
        http_method=[HttpMethod.PATCH, HttpMethod.POST],
        status_code=200,
        operation_id=named,
        **more,
    )
