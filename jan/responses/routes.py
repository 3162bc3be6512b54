"""Paths of the Responses API.

What the model is asked for is served by bare ASGI handlers, as the data plane's and for the same
reason. Litestar serves a path by one or the other kind, and none with a parameter by that one.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from litestar import Request, Response, Router, delete, get, post
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler, asgi
from litestar.params import FromPath, FromQuery
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from jan.caller import Caller
from jan.errors import InvalidRequest
from jan.guards import requires
from jan.permissions import Scope as Permission
from jan.responses import cancellation, input_items, kept, store
from jan.responses.serving import Responses
from jan.wire import Deleted

PATH = "/v1/responses"
ONE = "/{response_id:str}"
JSON = "application/json"

Serve = Callable[[Any, Any, Any], Awaitable[None]]


@delete(
    ONE,
    operation_id="delete_response",
    status_code=200,
    guards=[requires(Permission.RESPONSES_WRITE)],
)
async def delete_response(
    request: Request[Caller, Any, Any], response_id: FromPath[str]
) -> Deleted:
    """Delete a response, with its input and its output. Conversations keep what it added."""
    await store.delete(request.user, response_id)
    return Deleted(object="response.deleted", id=response_id)


@post(
    ONE + "/cancel",
    operation_id="cancel_response",
    status_code=200,
    guards=[requires(Permission.RESPONSES_WRITE)],
)
async def cancel_response(
    request: Request[Caller, Any, Any], response_id: FromPath[str]
) -> Response[bytes]:
    """End a response in the background. What has come of it is kept; one that has ended stays."""
    found = await cancellation.cancel(request.user, response_id)
    return Response(bytes(found.body), media_type=JSON)


@get(
    ONE + "/input_items",
    operation_id="list_input_items",
    guards=[requires(Permission.RESPONSES_READ)],
)
async def list_input_items(
    request: Request[Caller, Any, Any], response_id: FromPath[str]
) -> Response[bytes]:
    """List what a response was given, without what came before it. The last is first."""
    wanted = kept.wanted(request.scope["query_string"])
    found = await input_items.page(request.user, response_id, wanted)
    return Response(kept.shown(found), media_type=JSON)


def handlers(responses: Responses) -> Sequence[ControllerRouterHandler]:
    """Make the handlers."""
    return [
        _served(PATH, GET=kept.page, POST=responses.create),
        _served(PATH + "/input_tokens", POST=responses.count),
        _served(PATH + "/compact", POST=responses.compact),
        Router(
            PATH,
            route_handlers=[
                _reader(responses),
                delete_response,
                cancel_response,
                list_input_items,
            ],
            tags=["Responses"],
        ),
    ]


def _reader(responses: Responses) -> HTTPRouteHandler:
    @get(ONE, operation_id="get_response", guards=[requires(Permission.RESPONSES_READ)])
    async def get_response(
        request: Request[Caller, Any, Any],
        response_id: FromPath[str],
        stream: FromQuery[bool] = False,
        starting_after: FromQuery[int | None] = None,
    ) -> ASGIApp:
        """Give a response as it was told, or as it is by now.

        With `stream`, give its events, or those after the one with the number `starting_after`.
        """
        if not stream:
            found = await store.get(request.user, response_id)
            return ASGIResponse(body=bytes(found.body), media_type=JSON)
        if starting_after is not None and starting_after < 0:
            raise InvalidRequest("`starting_after` is at least 0.", param="starting_after")
        after = -1 if starting_after is None else starting_after
        return cast("ASGIApp", partial(responses.resume, after, response_id))

    return get_response


def _served(path: str, **by_method: Serve) -> ASGIRouteHandler:
    """Serve a path by method. Whoever lists routes finds the methods in the handler's `opt`."""
    methods = sorted(by_method)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        serve = by_method.get(cast("dict[str, Any]", scope)["method"])
        if serve is None:
            raise MethodNotAllowedException(headers={"allow": ", ".join(methods)})
        await serve(scope, receive, send)

    return asgi(path, name=path, copy_scope=False, methods=methods)(handle)
