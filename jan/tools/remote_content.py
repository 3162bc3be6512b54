"""What remote MCP servers say, as text that a model reads and a database keeps."""

import json
from collections.abc import Sequence
from typing import Any

import mcp_types as types

from jan.tools.toolbox import Result

MAX_WORDS = 300
"""Of a server's own sentence within one of ours."""


def result(answer: types.CallToolResult) -> Result:
    """Take what a tool said. What is no text is described: models here read text."""
    text = storable("\n\n".join(_texts(answer.content)))
    data: Any = answer.structured_content
    if not text and data is not None:
        text = storable(json.dumps(data, ensure_ascii=False))
    return Result(text=text, structured=data, is_error=answer.is_error)


def _texts(blocks: Sequence[types.ContentBlock]) -> list[str]:
    return [_text(block) for block in blocks]


def _text(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.EmbeddedResource):
        if isinstance(block.resource, types.TextResourceContents):
            return block.resource.text
        return f"[{block.resource.mime_type or 'data'} at {short(str(block.resource.uri))}]"
    if isinstance(block, types.ResourceLink):
        return f"[{short(block.name)}]({short(str(block.uri))})"
    return f"[{block.type}: {short(block.mime_type)}]"


def storable(text: str) -> str:
    """Replace what PostgreSQL can't keep: NUL, and halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def short(text: str) -> str:
    """Cut a stranger's words to a line that can stand within ours."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: MAX_WORDS * 2]).split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 1]}…"
