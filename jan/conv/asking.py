"""What a chat that knows its conversation asks for: a chat completion, and where it belongs.

What Jan does not read goes on as the client wrote it, number for number.
"""

from typing import Any, Literal

import msgspec

from jan.chat import request
from jan.chat.request import Routing
from jan.conversations import body as bodies
from jan.errors import InvalidJSON, InvalidRequest
from jan.inference.upstream import UNREADABLE

OURS = frozenset({"conversation", "store", "store_reasoning", "history"})
"""Fields that are not for the model server."""

ChatMessage = dict[str, Any]


class Asked(Routing, kw_only=True):
    """A request that has been read."""

    messages: list[msgspec.Raw]
    """As they were sent."""
    conversation: str | None = None
    store: bool | None = None
    store_reasoning: bool | None = None
    history: Literal["stored", "sent"] | None = None
    """Who knows what was said before: the conversation, or the messages themselves."""
    tools: msgspec.Raw = msgspec.Raw(b"null")
    """As they were sent."""

    @property
    def is_stored(self) -> bool:
        """Whether what is said is kept."""
        return bool(self.store)

    @property
    def is_remembered(self) -> bool:
        """Whether the model is told what the conversation holds."""
        return self.history != "sent"

    def decoded(self) -> list[ChatMessage]:
        """Decode the messages.

        Raises:
            InvalidJSON: they are nested too deeply to be kept, or to be put together with others.
            InvalidRequest: one is no object, or can't be stored; `param` names it.
        """
        body = b'{"messages":[%b]}' % b",".join(map(bytes, self.messages))
        found = bodies.load(body)
        if self.is_stored:
            bodies.refuse_nul(body, found, " Send `store: false`.")
        return bodies.convert(found, _Messages).messages


class _Messages(msgspec.Struct):
    messages: list[ChatMessage]


_asked = msgspec.json.Decoder(Asked)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(body: bytes) -> Asked:
    """Read the body of a request.

    Raises:
        InvalidJSON: not JSON, or not text; the sentence names the place.
        InvalidRequest: a field is missing or wrong; `param` names it.
    """
    try:
        asked = _asked.decode(body)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error)) from None
    except UNREADABLE:
        bodies.load(body)  # says what is wrong, unless all that is wrong is its depth
        raise InvalidJSON("The request body is nested too deeply.") from None
    if not asked.messages:
        raise InvalidRequest("`messages` holds at least one message.", param="messages")
    asked.conversation = asked.conversation or None
    return asked


def for_model(body: bytes) -> dict[str, Any]:
    """Take a body that has been read apart, but for what is ours: all that the model server gets.

    Nothing in it is decoded.
    """
    return {name: value for name, value in _members.decode(body).items() if name not in OURS}
