"""From the body of a request to what is asked, or to a refusal that names the place.

Text that the database can't hold is refused here, before anything is done for it: halves of
surrogate pairs always, for they are no text, and NUL characters where the response is stored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from jan.chat import request
from jan.conversations import items
from jan.conversations.items import Item
from jan.errors import InvalidJSON, InvalidRequest, Unsupported
from jan.inference.upstream import UNREADABLE
from jan.responses import schemas
from jan.responses.schemas import Count, Create, Reading

T = TypeVar("T", bound=Reading)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has been read."""

    create: Create
    input: list[Item]
    """In the one form that all forms of input come down to."""
    parameters: dict[str, Any]
    """Everything, as it was sent."""

    @property
    def extras(self) -> dict[str, Any]:
        """What Jan knows nothing of: parameters of the model server's own, such as `top_k`."""
        return {
            name: value
            for name, value in self.parameters.items()
            if name not in schemas.NAMES
            and name not in schemas.OPENAI_ONLY
            and name not in schemas.OURS
        }


def read(body: bytes) -> Asked:
    """Read the body of `POST /v1/responses`.

    Raises:
        InvalidJSON: not JSON; the sentence names the place.
        InvalidRequest: a parameter is missing or wrong; `param` names it.
        Unsupported: a parameter asks for what can't be had here.
    """
    parameters = _load(body)
    create = _convert(parameters, Create)
    if create.is_stored and b"\\u0000" in body:
        _refuse_nul(parameters)
    _check(create)
    return Asked(create, read_input(create.input), parameters)


def read_count(body: bytes) -> tuple[Count, list[Item]]:
    """Read the body of `POST /v1/responses/input_tokens`. Raises as `read`."""
    count = _convert(_load(body), Count)
    return count, read_input(count.input)


def read_input(said: str | list[Item] | None) -> list[Item]:
    """Bring input into the form of a list of items.

    Raises:
        InvalidRequest: one is no item; `param` names it by its index.
    """
    if said is None:
        return []
    if isinstance(said, str):
        return [items.said_by_user(said)]
    for index, item in enumerate(said):
        items.read(item, f"input[{index}]")
    return [items.normalized(item) for item in said]


def _load(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        value = request.load(body)  # raises, with the place, unless it is this:
        place = _place(value, _is_broken) or "the body"
        raise InvalidJSON(
            f"`{place}` holds half of a surrogate pair, which is not a character.", param=place
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    return value


def _convert(parameters: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error)) from None


def _check(create: Create) -> None:
    """Refuse what no single field can tell."""
    if create.prompt is not None:
        raise Unsupported("Stored prompts are not kept here: send the text.", param="prompt")
    if create.background and not create.is_stored:
        raise InvalidRequest(
            "A response in the background is found again by its id, so it must be stored.",
            param="background",
        )
    if create.previous_response_id is not None and create.conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` both say what came before: send one.",
            param="previous_response_id",
        )
    metadata = create.metadata or {}
    if len(metadata) > schemas.MAX_METADATA:
        raise InvalidRequest(
            f"`metadata` has {len(metadata)} entries, of {schemas.MAX_METADATA} at most.",
            param="metadata",
        )
    for key, value in metadata.items():
        if len(key) > schemas.MAX_METADATA_KEY:
            raise InvalidRequest(
                f"A key of `metadata` has {len(key)} characters,"
                f" of {schemas.MAX_METADATA_KEY} at most.",
                param="metadata",
            )
        if len(value) > schemas.MAX_METADATA_VALUE:
            raise InvalidRequest(
                f"`metadata.{key}` has {len(value)} characters,"
                f" of {schemas.MAX_METADATA_VALUE} at most.",
                param=f"metadata.{key}",
            )


def _refuse_nul(parameters: dict[str, Any]) -> None:
    """Look whether there is one. What looks like an escape may be an escaped backslash."""
    place = _place(parameters, lambda text: "\x00" in text)
    if place is not None:
        raise InvalidRequest(
            f"`{place}` holds a NUL character, which can't be stored. Send `store: false`.",
            param=place,
        )


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _place(value: Any, is_at_fault: Callable[[str], bool]) -> str | None:
    """Find a text that is at fault, such as `input[0].content`."""
    for path, text in _texts(value):
        if is_at_fault(text):
            return path.encode(errors="replace").decode()
    return None


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """List all texts, and where they are. Keys are texts too. No nesting is too deep for it."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            for key, inner in value.items():
                where = f"{path}.{key}" if path else key
                yield where, key
                waiting.append((where, inner))
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
