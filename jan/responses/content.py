"""Content of messages and outputs, as chat completions have it."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from jan.conversations.items import (
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    OutputText,
    Part,
    PlainText,
    Refusal,
)
from jan.errors import InvalidRequest, Unsupported

TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-yaml")
"""Files of these types are given to the model as text. Of others, the model server decides."""


def translated(said: str | Sequence[Part], place: str) -> str | list[dict[str, Any]]:
    """Translate content: to a plain string where it is nothing but text.

    Model servers that know no parts are many, and to the others it is the same.

    Raises:
        InvalidRequest: a part lacks what it is about; `param` begins with `place`.
        Unsupported: a part is somewhere from where nothing is fetched.
    """
    if isinstance(said, str):
        return said
    parts = [_part(part, f"{place}[{index}]") for index, part in enumerate(said)]
    if all(part["type"] == "text" for part in parts):
        by_model = all(isinstance(part, OutputText | Refusal) for part in said)
        return ("" if by_model else "\n").join(part["text"] for part in parts)
    return parts


def _part(part: Part, place: str) -> dict[str, Any]:
    match part:
        case InputText() | OutputText() | PlainText():
            return {"type": "text", "text": part.text}
        case Refusal():
            return {"type": "text", "text": part.refusal}
        case InputImage():
            return _image(part, place)
        case InputFile():
            return _file(part, place)
        case InputAudio():
            return {"type": "input_audio", "input_audio": msgspec.to_builtins(part.input_audio)}


def _image(part: InputImage, place: str) -> dict[str, Any]:
    if part.image_url is None:
        _refuse_file_id(part.file_id, place, "image_url")
    url: dict[str, Any] = {"url": part.image_url}
    if part.detail in {"low", "high"}:
        url["detail"] = part.detail
    return {"type": "image_url", "image_url": url}


def _file(part: InputFile, place: str) -> dict[str, Any]:
    if part.file_url is not None:
        raise Unsupported(
            f"`{place}.file_url`: files are not fetched from elsewhere. Send `file_data`.",
            param=f"{place}.file_url",
        )
    if part.file_data is None:
        _refuse_file_id(part.file_id, place, "file_data")
    assert part.file_data is not None
    text = _text_of(part.file_data, f"{place}.file_data")
    if text is not None:
        return {"type": "text", "text": f"{part.filename}:\n{text}" if part.filename else text}
    file = {"file_data": part.file_data}
    if part.filename is not None:
        file["filename"] = part.filename
    return {"type": "file", "file": file}


def _refuse_file_id(file_id: str | None, place: str, wanted: str) -> None:
    if file_id is not None:
        raise Unsupported(
            f"`{place}.file_id`: files are not kept here. Send `{wanted}`.",
            param=f"{place}.file_id",
        )
    raise InvalidRequest(
        f"You must provide the parameter `{place}.{wanted}`.", param=f"{place}.{wanted}"
    )


def _text_of(data_url: str, place: str) -> str | None:
    """Read the text of a data URL. None: it is not of a type that is text."""
    head, comma, data = data_url.partition(",")
    if not (comma and head.startswith("data:")):
        return None
    kind = head.removeprefix("data:").lower()
    if not kind.startswith(TEXT_TYPES):
        return None
    try:
        if kind.endswith(";base64"):
            return base64.b64decode(data, validate=True).decode()
        return unquote_to_bytes(data).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest(
            f"`{place}` is not the text that it says it is.", param=place
        ) from None
