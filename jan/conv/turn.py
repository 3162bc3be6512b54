"""One turn of a conversation: what was said before is read, what is said is kept.

What the client says is committed before the model is called, and what the model says before its end
is told. If the model never began, the turn is taken back: whoever asks again would say it twice.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jan import ids
from jan.caller import Caller
from jan.conv import said
from jan.conv.asking import Asked, ChatMessage
from jan.conv.schemas import Metadata
from jan.conversations import items, record, titles
from jan.conversations import service as conversations
from jan.conversations.items import Item
from jan.conversations.schemas import ConversationCreate
from jan.db import scope
from jan.errors import InvalidRequest
from jan.responses import messages
from jan.responses.messages import ChatMessage as Translated

FIND = """
SELECT c.title, w.instruction,
       EXISTS (SELECT FROM conversation_item AS i WHERE i.conversation_id = c.id) AS has_items
FROM conversation AS c LEFT JOIN workspace AS w ON w.id = c.workspace_id
WHERE c.id = $1 AND c.project_id = $2 AND c.owner_id = $3
"""
# Whoever comes at the same time waits, and looks only then: what is found is all there is before.
LOCK = "SELECT FROM conversation WHERE id = $1 AND project_id = $2 AND owner_id = $3 FOR UPDATE"
# Unless somebody else has added to it by now.
TAKE_BACK = """
DELETE FROM conversation AS c WHERE c.id = $1 AND c.project_id = $2 AND c.owner_id = $3
AND NOT EXISTS (
    SELECT FROM conversation_item AS i WHERE i.conversation_id = c.id AND i.id <> ALL($4)
)
"""
TAKE_ITEMS_BACK = """
DELETE FROM conversation_item
WHERE conversation_id = $1 AND project_id = $2 AND owner_id = $3 AND id = ANY($4)
"""
UNNAME = """
UPDATE conversation SET title = NULL
WHERE id = $1 AND project_id = $2 AND owner_id = $3 AND title = $4
"""
GIVEN = re.compile(r"input\[(\d+)\]")
"""How `messages.translated` names what is at fault in the outputs that it is given."""


@dataclass(slots=True)
class Turn:
    """What is known of a turn once it has begun."""

    caller: Caller
    conversation_id: str | None = None
    is_created: bool = False
    title: str | None = None
    is_named: bool = False
    """Whether the title comes from this turn."""
    instruction: str | None = None
    is_empty: bool = True
    """Whether nothing was in the conversation before."""
    added: list[Item] = field(default_factory=list[Item])
    """What the client has said, as it is kept."""
    answer_id: str | None = None
    """What the model's words will be called. None: they are not kept."""

    async def keep(self, answer: list[Item]) -> None:
        """Add what the model has said.

        Raises:
            NotFound: the conversation is there no more.
        """
        assert self.conversation_id is not None
        await record.append(self.caller, self.conversation_id, answer)

    async def take_back(self) -> None:
        """Undo what this turn has added, and the conversation if it was made for it."""
        mine = self.conversation_id, *self.caller.require_place()
        added = [item["id"] for item in self.added]
        async with scope.of(self.caller) as connection:
            if self.is_created:
                await connection.execute(TAKE_BACK, *mine, added)
            await connection.execute(TAKE_ITEMS_BACK, *mine, added)
            if self.is_named:
                await connection.execute(UNNAME, *mine, self.title)

    def told(self, asked: Asked) -> Metadata:
        """Tell the client where it is."""
        return Metadata(
            conversation_id=self.conversation_id,
            conversation_created=self.is_created,
            conversation_title=self.title,
            ask_item_id=self.added[-1]["id"] if self.added else None,
            completion_item_id=self.answer_id,
            store=asked.is_stored,
            store_reasoning=bool(asked.store_reasoning),
        )


async def begin(
    caller: Caller, asked: Asked, model: str
) -> tuple[Turn, list[msgspec.Raw | ChatMessage] | None]:
    """Begin a turn: what the client says is committed. With it come the messages for the model.

    None: they are the client's own. Where nothing is kept and nothing was kept, nothing is done.

    Raises:
        InvalidRequest: a message is none, or can't be kept; `param` names it.
        NotFound: no such conversation of the caller's.
        Unsupported: a message could never be given to a model again.
    """
    turn = Turn(caller)
    if not asked.is_stored and asked.conversation is None:
        return turn, None
    decoded = asked.decoded()
    async with scope.of(caller) as connection:
        history: list[Item] = []
        await _enter(turn, asked, model, connection)
        if asked.is_remembered and not turn.is_empty and turn.conversation_id:
            history = await record.history(caller, turn.conversation_id)
        if asked.is_stored:
            turn.answer_id = ids.new(items.PREFIXES["message"])
            await _add(turn, asked, decoded)
        return turn, _for_model(turn.instruction, history, decoded, asked)


async def _enter(turn: Turn, asked: Asked, model: str, connection: Any) -> None:
    """Find the conversation, or make one."""
    if asked.conversation is None:
        made = await conversations.create(
            turn.caller, ConversationCreate(metadata={"model": model})
        )
        turn.conversation_id, turn.is_created = made.id, True
        return
    if "\x00" in asked.conversation:
        raise record.missing(asked.conversation)
    mine = asked.conversation, *turn.caller.require_place()
    if asked.is_stored:
        await connection.execute(LOCK, *mine)
    row = await connection.fetchrow(FIND, *mine)
    if row is None:
        raise record.missing(asked.conversation)
    turn.conversation_id = asked.conversation
    turn.title, turn.instruction = row["title"], row["instruction"]
    turn.is_empty = not row["has_items"]


async def _add(turn: Turn, asked: Asked, decoded: list[ChatMessage]) -> None:
    """Keep what is new. Instructions are of this request only, but for those that began it all."""
    start = 0
    if not turn.is_empty:
        start = said.instructing(decoded)
        if not asked.is_remembered:
            start = max(start, said.new(decoded))
    for index in range(start, len(decoded)):
        turn.added += said.as_items(
            decoded[index], f"messages[{index}]", has_reasoning=bool(asked.store_reasoning)
        )
    if turn.title is None:
        turn.title = titles.of(turn.added)
        turn.is_named = turn.title is not None
    if turn.added:
        assert turn.conversation_id is not None
        await record.append(turn.caller, turn.conversation_id, turn.added)


def _for_model(
    instruction: str | None, history: list[Item], decoded: list[ChatMessage], asked: Asked
) -> list[msgspec.Raw | ChatMessage] | None:
    """Put what the model reads together. What can stay as it came does.

    All instructions are one message at the start; those of the request take the place of those
    that the conversation began with.
    """
    if instruction is None and not history:
        return None
    start = said.instructing(decoded)
    spoken = [said.text_of(message, f"messages[{i}]") for i, message in enumerate(decoded[:start])]
    if spoken:
        history = history[_instructing(history) :]
    instructions = "\n\n".join([instruction, *spoken] if instruction else spoken)
    outputs: list[Item] = []
    if history:
        end = start + said.answering(decoded[start:])
        for index in range(start, end):
            outputs += said.as_items(decoded[index], f"messages[{index}]")
    try:
        read: list[Translated] = messages.translated(instructions or None, history, outputs)
    except InvalidRequest as error:
        found = GIVEN.match(error.param or "")
        if found:
            error.param = f"messages[{int(found[1]) + start}].tool_call_id"
        else:
            error.param = "conversation"
        raise
    return [*read, *asked.messages[start + len(outputs) :]]


def _instructing(history: list[Item]) -> int:
    count = 0
    while count < len(history) and history[count].get("role") in said.INSTRUCTING:
        count += 1
    return count
