"""How a response begins: what came before is read, and what is asked is written down.

All of it is one transaction, which ends before the model is asked. What neither looks back nor is
stored needs no database.
"""

from dataclasses import dataclass, replace
from typing import Literal

from jan import clock, ids
from jan.caller import Caller
from jan.conversations.items import Item
from jan.db import scope
from jan.responses import history, response, store, translation
from jan.responses.compaction import Seal
from jan.responses.machine import Machine
from jan.responses.reading import Asked
from jan.responses.schemas import Reading
from jan.responses.translation import Prompt


@dataclass(frozen=True, slots=True)
class Begun:
    """A response that can be made now."""

    prompt: Prompt
    machine: Machine


@dataclass(frozen=True, slots=True)
class Read:
    """What the model is to read."""

    before: list[Item]
    given: list[Item]
    told_before: list[Item]
    """The same, as the model is told of it."""
    told: list[Item]


async def begin(
    caller: Caller,
    asked: Asked,
    seal: Seal,
    *,
    status: Literal["queued", "in_progress"] = "in_progress",
) -> Begun:
    """Begin a response. Within an open transaction of the caller's it takes part in it.

    Raises:
        JanError: as `read`, `translation.prompt` and `store.insert`; then nothing is stored.
    """
    create = asked.create
    if not create.is_stored:
        return _begun(asked, await read(caller, create, asked.input, seal), status)
    async with scope.of(caller) as connection:
        said = await read(caller, create, asked.input, seal)
        begun = _begun(asked, said, status)
        given = history.named(said.given)
        await store.insert(connection, caller, asked, begun.machine.response, given, status=status)
    return begun


async def read(caller: Caller, asked: Reading, given: list[Item], seal: Seal) -> Read:
    """Find all that the model is to read.

    Raises:
        JanError: as `history.before`, `history.resolved` and `Seal.opened`.
    """
    before = await history.before(caller, asked)
    given = await history.resolved(caller, given)
    place = "conversation" if asked.conversation_id is not None else "previous_response_id"
    return Read(
        before,
        given,
        seal.opened(caller, before, place),
        seal.opened(caller, given, "input"),
    )


def _begun(asked: Asked, said: Read, status: Literal["queued", "in_progress"]) -> Begun:
    prompt = translation.prompt(replace(asked, input=said.told), said.told_before)
    created_at = int(clock.now().timestamp())
    begun = response.begun(asked, response_id=ids.new("resp"), created_at=created_at, status=status)
    return Begun(prompt, Machine(begun, asked.create, prompt.toolset))
