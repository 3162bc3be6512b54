"""What strangers' servers tell, made into what can be kept and sent: they may tell anything."""

from typing import Any


def without_nul(text: str) -> str:
    """Replace NUL characters, so that what is streamed and what is kept are one."""
    return text.replace("\x00", "\ufffd")


def cleaned(value: Any) -> Any:
    """Replace NUL characters and halves of surrogate pairs in all texts of a document."""
    if isinstance(value, str):
        return without_nul(value).encode(errors="replace").decode()
    if isinstance(value, list):
        return [cleaned(inner) for inner in value]
    if isinstance(value, dict):
        return {cleaned(name): cleaned(inner) for name, inner in value.items()}
    return value
