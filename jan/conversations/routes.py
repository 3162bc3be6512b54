"""`/v1/conversations`: conversations and their items, as in OpenAI's API.

Jan's own are the list of conversations, PATCH, titles and workspaces.
Source: https://platform.openai.com/docs/api-reference/conversations
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from litestar import Request, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from jan import telemetry
from jan.caller import Caller
from jan.chat.request import receive_body
from jan.conversations import body as bodies
from jan.conversations import contents, inclusion
from jan.conversations import service as conversations
from jan.conversations.items import Item
from jan.conversations.schemas import (
    Conversation,
    ConversationCreate,
    ConversationMove,
    ConversationUpdate,
    ItemList,
    ItemsCreate,
)
from jan.guards import requires
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import PAGED, PAGED_LATEST_FIRST, change
from jan.wire import Deleted

ONE = "/{conversation_id:str}"
ITEMS = ONE + "/items"
ITEM = ITEMS + "/{item_id:str}"

READ = [requires(Scope.CONVERSATIONS_READ)]
WRITE = [requires(Scope.CONVERSATIONS_WRITE)]

AnyRequest = Request[Caller, Any, Any]
Receive = Callable[[AnyRequest], Awaitable[bytes]]


@get("/", operation_id="list_conversations", guards=READ, dependencies=PAGED)
async def list_conversations(
    request: AnyRequest,
    wanted: NamedDependency[Wanted],
    workspace_id: FromQuery[str | None] = None,
) -> Page[Conversation]:
    """List your conversations; those of a workspace, or with `none` those that are in none."""
    return await conversations.page(request.user, wanted, workspace_id)


@get(ONE, operation_id="get_conversation", guards=READ)
async def get_conversation(request: AnyRequest, conversation_id: FromPath[str]) -> Conversation:
    """Describe a conversation."""
    return await conversations.get(request.user, conversation_id)


@delete(ONE, operation_id="delete_conversation", status_code=200, guards=WRITE)
async def delete_conversation(request: AnyRequest, conversation_id: FromPath[str]) -> Deleted:
    """Delete a conversation with all that was said in it."""
    return await conversations.delete(request.user, conversation_id)


@get(ITEMS, operation_id="list_items", guards=READ, dependencies=PAGED_LATEST_FIRST)
async def list_items(
    request: AnyRequest, conversation_id: FromPath[str], wanted: NamedDependency[Wanted]
) -> ItemList:
    """List what was said in a conversation, the latest first."""
    return await contents.page(request.user, conversation_id, wanted, _included(request))


@get(ITEM, operation_id="get_item", guards=READ)
async def get_item(
    request: AnyRequest, conversation_id: FromPath[str], item_id: FromPath[str]
) -> Item:
    """Describe an item."""
    return await contents.get(request.user, conversation_id, item_id, _included(request))


@delete(ITEM, operation_id="delete_item", status_code=200, guards=WRITE)
async def delete_item(
    request: AnyRequest, conversation_id: FromPath[str], item_id: FromPath[str]
) -> Conversation:
    """Remove an item from a conversation."""
    await contents.delete(request.user, conversation_id, item_id)
    return await conversations.get(request.user, conversation_id)


def router(*, max_body_bytes: int) -> Router:
    """Make the routes. Bodies are as long as those of the data plane: there are pictures in them.

    They are read here, for what the database can't hold is to be refused by its place.
    """

    async def received(request: AnyRequest) -> bytes:
        exchange = telemetry.exchange_of(cast("dict[str, Any]", request.scope))
        headers = request.scope["headers"]
        return await receive_body(exchange, headers, request.receive, max_body_bytes)

    @post("/", operation_id="create_conversation", status_code=200, guards=WRITE)
    async def create_conversation(request: AnyRequest) -> Conversation:
        """Make a conversation, with up to 20 items in it."""
        wanted = bodies.read(await received(request) or b"{}", ConversationCreate)
        return await conversations.create(request.user, wanted)

    @change(ONE, "update_conversation", guards=WRITE)
    async def update_conversation(
        request: AnyRequest, conversation_id: FromPath[str]
    ) -> Conversation:
        """Rename a conversation, or replace its metadata as a whole."""
        wanted = bodies.read(await received(request), ConversationUpdate)
        return await conversations.update(request.user, conversation_id, wanted)

    @patch(ONE + "/workspace", operation_id="move_conversation", guards=WRITE)
    async def move_conversation(
        request: AnyRequest, conversation_id: FromPath[str]
    ) -> Conversation:
        """Put a conversation into a workspace, or with null out of the one that it is in."""
        wanted = bodies.read(await received(request), ConversationMove)
        return await conversations.move(request.user, conversation_id, wanted.workspace_id)

    @post(ITEMS, operation_id="create_items", status_code=200, guards=WRITE)
    async def create_items(request: AnyRequest, conversation_id: FromPath[str]) -> ItemList:
        """Add up to 20 items to a conversation: all of them or none."""
        included = _included(request)
        wanted = bodies.read(await received(request), ItemsCreate)
        return await contents.add(request.user, conversation_id, wanted.items, included)

    return Router(
        "/v1/conversations",
        route_handlers=[
            *(list_conversations, create_conversation, get_conversation, update_conversation),
            *(delete_conversation, move_conversation),
            *(list_items, create_items, get_item, delete_item),
        ],
        tags=["Conversations"],
    )


def _included(request: AnyRequest) -> frozenset[str]:
    """Read `include`, which OpenAI's clients write as `include[]`."""
    asked = request.query_params
    return inclusion.checked([*asked.getall("include[]", []), *asked.getall("include", [])])
