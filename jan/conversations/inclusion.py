"""Which parts of items are told only to who asks for them, as in OpenAI's API.

They are long, and most who read a list do without. Source: OpenAI's `ResponseIncludable`.
"""

from collections.abc import Iterable

from jan.conversations.items import Item
from jan.errors import InvalidRequest

INCLUDABLE = frozenset(
    {
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    }
)
_CONTENT = "message."
"""What is told of a message is in the parts of its content, by their type."""


def checked(asked: Iterable[str]) -> frozenset[str]:
    """Read what a client asks for.

    Raises:
        InvalidRequest: there is no such part.
    """
    included = frozenset(asked)
    if unknown := included - INCLUDABLE:
        raise InvalidRequest(
            f"`include`: there is no `{min(unknown)}`, of {', '.join(sorted(INCLUDABLE))}.",
            param="include",
        )
    return included


def shown(item: Item, included: frozenset[str]) -> Item:
    """Give an item as a client sees it who asked for those."""
    for name in INCLUDABLE - included:
        kind, _, path = name.partition(".")
        if item.get("type") != kind:
            continue
        if name.startswith(_CONTENT):
            part_type, _, field = path.partition(".")
            content = [_without_in(part, part_type, field) for part in item.get("content") or ()]
            item = item | {"content": content}
        else:
            item = _without(item, path)
    return item


def _without_in(part: Item, part_type: str, field: str) -> Item:
    return _without(part, field) if part["type"] == part_type else part


def _without(value: Item, path: str) -> Item:
    """Leave out what is at `path`, if it leads anywhere."""
    name, _, rest = path.partition(".")
    if name not in value:
        return value
    if not rest:
        return {key: inner for key, inner in value.items() if key != name}
    inner = value[name]
    return value | {name: _without(inner, rest)} if isinstance(inner, dict) else value
