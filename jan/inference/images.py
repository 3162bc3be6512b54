"""Images that a request names by URL: fetched here and put into the request, before it goes on.

A model server that fetches for itself would reach whatever its machine reaches. So no URL gets to
it: images come through the guard, and what else is named by URL is refused. A request that names
none is searched for two words and goes on as it came.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from jan.errors import BodyTooLarge, Unsupported, UrlNotFetched
from jan.net.guard import Guard

MARKS = (b'_url"', b'"image"')
"""One of these is in every request that names media by URL: OpenAI's parts, and vLLM's for sound
and videos, have a member of that ending, Anthropic's have that type. A client that escapes letters
in them gets past, and no further: our engine is started so that it fetches nothing."""

MAX_IMAGES = 50
"""Of one request, named by URL."""
AT_A_TIME = 4
"""Fetched for one request."""

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
"""How images begin. What a site calls them does not count. WebP is told by two words."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages = msgspec.json.Decoder(list[msgspec.Raw])


class _Named(NamedTuple):
    """A place in a request that names an image by URL."""

    url: str
    place: str
    put: Callable[[str, str], None]
    """Puts an image there instead: its media type, and itself in base64."""


class Images:
    """Puts images into requests."""

    def __init__(self, guard: Guard, *, max_bytes: int) -> None:
        """`max_bytes` bounds what is added to one request."""
        self._guard = guard
        self._max_bytes = max_bytes

    async def inlined(self, body: bytes) -> bytes:
        """Put images into a request, or give it back as it came if it names none.

        Raises:
            UrlRefused, UrlNotFetched: an image could not be fetched, or is none; `param` says
                where in the request it is named.
            Unsupported: it names something else by URL, or too many images.
            BodyTooLarge: the images are longer than `max_bytes` in all.
        """
        if MARKS[0] not in body and MARKS[1] not in body:
            return body
        try:
            members = _members.decode(body)
            messages = _messages.decode(members.get("messages", b"[]"))
            decoded: dict[int, Any] = {
                index: msgspec.json.decode(message)
                for index, message in enumerate(messages)
                if any(mark in bytes(message) for mark in MARKS)
            }
        except msgspec.ValidationError:
            return body  # the model server says better what is wrong with it
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return await self._inlined_slowly(body)
        named = {index: list(_named(message, index)) for index, message in decoded.items()}
        if not any(named.values()):
            return body
        await self._fetch([one for ones in named.values() for one in ones])
        for index, ones in named.items():
            if ones:
                messages[index] = msgspec.Raw(msgspec.json.encode(decoded[index]))
        members["messages"] = msgspec.Raw(msgspec.json.encode(messages))
        return msgspec.json.encode(members)

    async def _inlined_slowly(self, body: bytes) -> bytes:
        """Do the same for JSON that msgspec refuses: escapes of lone surrogates, for one."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return body
        messages = request.get("messages") if isinstance(request, dict) else None
        if not isinstance(messages, list):
            return body
        named = [one for index, said in enumerate(messages) for one in _named(said, index)]
        if not named:
            return body
        await self._fetch(named)
        return json.dumps(request).encode()

    async def _fetch(self, named: list[_Named]) -> None:
        if len(named) > MAX_IMAGES:
            raise Unsupported(f"A request may name {MAX_IMAGES} images by URL, not {len(named)}.")
        places: dict[str, list[_Named]] = {}
        for one in named:
            places.setdefault(one.url, []).append(one)
        slots = asyncio.Semaphore(AT_A_TIME)
        left_bytes = self._max_bytes

        async def fetch(url: str, its_places: list[_Named]) -> None:
            nonlocal left_bytes
            async with slots:
                kind, image = await self._image(url, its_places[0].place)
            left_bytes -= len(image) * len(its_places)
            if left_bytes < 0:
                raise BodyTooLarge(f"The images are longer than {self._max_bytes} bytes in all.")
            for one in its_places:
                one.put(kind, image)

        try:
            async with asyncio.TaskGroup() as group:
                for url, its_places in places.items():
                    group.create_task(fetch(url, its_places))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _image(self, url: str, place: str) -> tuple[str, str]:
        try:
            fetched = await self._guard.fetch(url, headers={"accept": "image/*"})
        except UrlNotFetched as error:
            error.param = place
            raise
        kind = _type_of(fetched.body)
        if kind is None:
            words = f"What `{place}` leads to is no image: PNG, JPEG, GIF and WebP are known."
            raise UrlNotFetched(words, param=place)
        return kind, base64.b64encode(fetched.body).decode("ascii")


def _type_of(image: bytes) -> str | None:
    for start, kind in SIGNATURES:
        if image.startswith(start):
            return kind
    return "image/webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else None


def _named(message: Any, index: int) -> Iterator[_Named]:
    if isinstance(message, dict):
        yield from _named_in(message.get("content"), f"messages[{index}].content")


def _named_in(content: Any, place: str) -> Iterator[_Named]:
    """Find what parts of content name by URL.

    Arguments of tools may look the same; they are no parts, and nothing is fetched for them.
    """
    parts: list[Any] = content if isinstance(content, list) else []
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            continue
        at = f"{place}[{index}]"
        for name in ("image_url", "video_url", "audio_url"):
            yield from _named_by(part, name, at)
        source = part.get("source")
        if part.get("type") == "tool_result":
            yield from _named_in(part.get("content"), f"{at}.content")
        elif part.get("type") == "image" and isinstance(source, dict):
            url = source.get("url")
            if source.get("type") == "url" and isinstance(url, str):
                yield _Named(url, f"{at}.source.url", partial(_put_source, part))


def _named_by(part: dict[str, Any], name: str, place: str) -> Iterator[_Named]:
    """Look at one member, as OpenAI has it or as text alone, as vLLM takes it too."""
    holder, key, at = part, name, f"{place}.{name}"
    said = part.get(name)
    if isinstance(said, dict):
        holder, key, at = said, "url", f"{at}.url"
    url = holder.get(key)
    if not isinstance(url, str) or url[:5].lower() == "data:":
        return
    if name != "image_url":
        raise Unsupported(
            f"`{at}`: only images are fetched from elsewhere. Send a `data:` URL.", param=at
        )
    yield _Named(url, at, partial(_put_url, holder, key))


def _put_url(holder: dict[str, Any], key: str, kind: str, image: str) -> None:
    holder[key] = f"data:{kind};base64,{image}"


def _put_source(part: dict[str, Any], kind: str, image: str) -> None:
    part["source"] = {"type": "base64", "media_type": kind, "data": image}
