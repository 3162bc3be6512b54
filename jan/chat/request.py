"""What of a request's body Jan looks at, and the one thing in it that Jan may change.

The body goes on as the client wrote it, byte for byte, but for `stream_options`: where a stream
would not tell its tokens, it is asked to.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from jan.errors import BodyTooLarge, InvalidJSON, InvalidRequest, JanError
from jan.telemetry import Exchange

Receive = Callable[[], Awaitable[Any]]

MAX_BIGINT = 2**63 - 1
"""The longest that PostgreSQL can count. Clients may announce twice that."""

MAX_SESSION_LENGTH = 256
ASK = b'"stream_options":{"include_usage":true}'
_AT = re.compile(r" - at `\$\.?([^`]+)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")


class ClientGone(JanError):
    """The client went away. Nobody reads this answer; the status is for the books."""

    status = 499
    code = "client_closed_request"


class Routing(msgspec.Struct):
    """The fields that decide where a request goes and how its answer comes back."""

    model: str
    stream: bool | None = None
    stream_options: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    prompt_cache_key: Any = None
    """OpenAI's: what requests have in common whose prompts begin alike."""

    @property
    def session(self) -> str | None:
        """That key, if it is one."""
        key = self.prompt_cache_key
        return key if isinstance(key, str) and len(key) <= MAX_SESSION_LENGTH else None


_routing = msgspec.json.Decoder(Routing)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def receive_body(
    exchange: Exchange,
    headers: Iterable[tuple[bytes, bytes]],
    receive: Receive,
    limit_bytes: int,
) -> bytes:
    """Read the body. Its length is noted in `exchange`, as far as it is known.

    Raises:
        BodyTooLarge: it is, or says that it is, longer than `limit_bytes`.
        ClientGone: the client left before its end.
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > limit_bytes:
            exchange.request_bytes = min(int(value), MAX_BIGINT)
            raise _too_large(limit_bytes)
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        part: bytes = message.get("body", b"")
        length += len(part)
        exchange.request_bytes = length
        if length > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is longer than {limit_bytes} bytes.")


def read(body: bytes) -> Routing:
    """Read the fields that matter here.

    Raises:
        InvalidJSON: not JSON; the sentence names the place.
        InvalidRequest: a field is missing or of the wrong type; `param` names it.
    """
    try:
        return _routing.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # msgspec refuses escapes of lone surrogates, which are JSON (RFC 8259, section 8.2) and
        # which JavaScript writes. The standard library takes them, and names places by line.
        return _read_slowly(body)
    except RecursionError:
        raise InvalidJSON("The request body is nested too deeply.") from None


def _read_slowly(body: bytes) -> Routing:
    try:
        routing = msgspec.convert(load(body), Routing)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    # No model is called so, but what is said of it must be text.
    routing.model = routing.model.encode(errors="replace").decode()
    return routing


def load(body: bytes) -> Any:
    """Decode any JSON, lone surrogates included.

    Raises:
        InvalidJSON: as `read`.
    """
    try:
        return json.loads(body.decode())
    except RecursionError:
        raise InvalidJSON("The request body is nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise InvalidJSON(f"The request body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidJSON(f"The request body is not valid JSON: {error.msg} at {place}.") from None
    except ValueError:
        raise InvalidJSON("The request body holds a number that is too long.") from None


def invalid(words: str, within: str = "") -> InvalidRequest:
    """Turn what msgspec says of a document that is not as it must be into a refusal.

    It names the field at fault, such as `messages[0].role`. `within` is the place of the document
    in the request, where it is not all of it.
    """
    at = _AT.search(words)
    place = ".".join(part for part in (within, at and at[1]) if part).replace(".[", "[")
    if missing := _MISSING.search(words):
        name = f"{place}.{missing[1]}" if place else missing[1]
        return InvalidRequest(f"You must provide the parameter `{name}`.", param=name)
    if place:
        said = words[: at.start()] if at else words
        return InvalidRequest(f"`{place}`: {said[:1].lower()}{said[1:]}.", param=place)
    return InvalidRequest("The request body must be a JSON object.")


def ask_for_usage(body: bytes, routing: Routing) -> bytes | None:
    """Rewrite the body of a stream so that the tokens are told. None if they are anyway.

    Raises:
        InvalidJSON: as `read`.
        InvalidRequest: whether to tell them is said in a way that servers read differently.
    """
    if routing.stream_options is msgspec.UNSET:
        start = body.index(b"{") + 1
        return b"%b%b,%b" % (body[:start], ASK, body[start:])
    said = routing.stream_options or {}
    wanted = said.get("include_usage")
    if wanted is True:
        return None
    if wanted is not None and wanted is not False:  # vLLM takes "no" for False
        name = "stream_options.include_usage"
        raise InvalidRequest(f"`{name}`: expected `bool`.", param=name)
    # Without usage this one does nothing; with it, every chunk would carry what nobody asked for.
    said.pop("continuous_usage_stats", None)
    options = said | {"include_usage": True}
    try:
        members = _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # as in `read`
        return json.dumps(load(body) | {"stream_options": options}).encode()
    members["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(members)
