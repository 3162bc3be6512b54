"""What Jan reads of a form with a file in it: which model is asked for, and whether for a stream.

The body goes on byte for byte. Where the server has another name for the model, that field alone is
written anew.

Source: https://www.rfc-editor.org/rfc/rfc7578
"""

from collections.abc import Iterable
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from jan.errors import InvalidRequest

KIND = b"multipart/form-data"
MAX_PARTS = 100
MAX_FIELD_BYTES = 1024
"""Of a field that is read here."""
READ = frozenset({b"model", b"stream"})
TRUE = frozenset({b"true", b"1", b"yes", b"y", b"on", b"t"})
"""As pydantic reads it in vLLM."""


class Form(NamedTuple):
    """What is read of it."""

    model: str
    is_stream: bool
    span: tuple[int, int]
    """Where in the body the model's name stands."""


def content_type(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Find the type of a body, which tells how its parts are parted."""
    return next((value for name, value in headers if name == b"content-type"), b"")


def read(body: bytes, kind: bytes) -> Form:
    """Read a form.

    Raises:
        InvalidRequest: it is none, or does not name one model.
    """
    named, options = parse_options_header(kind)
    boundary = options.get(b"boundary")
    if named != KIND or not boundary:
        raise InvalidRequest("The request body must be a form: `multipart/form-data`.")
    # Model servers would read the names of fields by it, and other names than are read here.
    if options.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8"}:
        raise InvalidRequest("The form must be UTF-8.")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # pyright: ignore[reportArgumentType]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InvalidRequest("The form can't be read: it is not as its boundary says.") from None
    model = parts.spans.get(b"model")
    if model is None:
        raise InvalidRequest("You must provide the parameter `model`.", param="model")
    try:
        name = body[slice(*model)].decode()
    except UnicodeDecodeError:
        raise InvalidRequest("`model`: it is no text.", param="model") from None
    said = parts.spans.get(b"stream", (0, 0))
    return Form(name, body[slice(*said)].lower() in TRUE, model)


class _Parts:
    """Where the fields are that are read. The parser tells piece by piece."""

    def __init__(self) -> None:
        self.spans: dict[bytes, tuple[int, int]] = {}
        self._count = 0
        self._is_disposed = False
        self._header = b""
        self._value = b""
        self._name: bytes | None = None
        self._span: tuple[int, int] | None = None

    def callbacks(self) -> dict[str, object]:
        """Tell what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_header,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_part_data": self._take_data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise InvalidRequest(f"A form has {MAX_PARTS} fields at most.")
        self._name = self._span = None
        self._is_disposed = False
        self._header = self._value = b""

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            if self._is_disposed:
                raise InvalidRequest("A part of the form has two names.")
            self._is_disposed = True
            _, options = parse_options_header(self._value)
            name = options.get(b"name")
            if name in READ:
                if b"filename" in options:
                    word = name.decode()
                    raise InvalidRequest(f"`{word}`: it can't be a file.", param=word)
                self._name = name
        self._header = self._value = b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:  # noqa: ARG002
        if self._name is not None:
            begin = start if self._span is None else self._span[0]
            self._span = begin, end

    def _end(self) -> None:
        if self._name is None:
            return
        word = self._name.decode()
        if self._name in self.spans:
            raise InvalidRequest(f"`{word}`: it is given twice.", param=word)
        begin, end = self._span or (0, 0)
        if not 0 < end - begin <= MAX_FIELD_BYTES:
            raise InvalidRequest(f"`{word}`: it is empty or too long.", param=word)
        self.spans[self._name] = begin, end
