"""From the body of a request to what is asked, or to a refusal that names the place.

Text that the database can't hold is refused here, before anything is done for it: halves of
surrogate pairs always, for they are no text, and NUL characters where the response is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from jan.conversations import body as bodies
from jan.conversations import items, metadata
from jan.conversations.items import Item
from jan.errors import InvalidRequest, Unsupported
from jan.responses import schemas
from jan.responses.schemas import Compact, Count, Create, Reading


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
    parameters = bodies.load(body)
    create = bodies.convert(parameters, Create)
    if create.is_stored:
        bodies.refuse_nul(body, parameters, " Send `store: false`.")
    _check(create)
    return Asked(create, read_input(create.input), parameters)


def stored(parameters: str, given: Sequence[str]) -> Asked:
    """Read a request that was written down, its input apart from the rest."""
    said = msgspec.json.decode(parameters)
    return Asked(bodies.convert(said, Create), [msgspec.json.decode(item) for item in given], said)


def read_count(body: bytes) -> tuple[Count, list[Item]]:
    """Read the body of `POST /v1/responses/input_tokens`. Raises as `read`."""
    count = bodies.convert(bodies.load(body), Count)
    _check_history(count)
    return count, read_input(count.input)


def read_compact(body: bytes) -> tuple[Compact, list[Item]]:
    """Read the body of `POST /v1/responses/compact`. Raises as `read`."""
    compact = bodies.convert(bodies.load(body), Compact)
    _check_history(compact)
    return compact, read_input(compact.input)


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


def _check(create: Create) -> None:
    """Refuse what no single field can tell."""
    if create.prompt is not None:
        raise Unsupported("Stored prompts are not kept here: send the text.", param="prompt")
    if create.background and not create.is_stored:
        raise InvalidRequest(
            "A response in the background is found again by its id, so it must be stored.",
            param="background",
        )
    _check_history(create)
    metadata.check(create.metadata)


def _check_history(asked: Reading) -> None:
    if asked.previous_response_id is not None and asked.conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` both say what came before: send one.",
            param="previous_response_id",
        )
