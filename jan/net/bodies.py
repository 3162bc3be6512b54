"""Bodies of answers, unpacked a piece at a time and no further than a limit.

httpx2 unpacks whatever has come in one go, and a thousandth of what a bomb becomes is enough to
send it. So only gzip is asked for, and is unpacked here.
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

from httpx2 import AsyncByteStream

from jan.errors import UrlNotFetched

PIECE_BYTES = 64 * 1024
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
ANY_WRAPPER = zlib.MAX_WBITS | 32
"""Tells zlib to find out by itself whether it is gzip or zlib."""


def too_long(limit_bytes: int) -> UrlNotFetched:
    """Say that an answer is longer than is taken."""
    return UrlNotFetched(f"It is longer than {limit_bytes} bytes.")


class Bounded(AsyncByteStream):
    """A body that ends with an error where it would be longer than `limit_bytes`."""

    def __init__(
        self, stream: AsyncIterable[bytes], encoding: str | None, limit_bytes: int
    ) -> None:
        self._stream = stream
        self._encoding = encoding
        self._limit_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacking = _Unpacking() if self._encoding else None
        length = 0
        async for received in self._stream:
            for piece in unpacking.feed(received) if unpacking else (received,):
                length += len(piece)
                if length > self._limit_bytes:
                    raise too_long(self._limit_bytes)
                yield piece
        if unpacking and not unpacking.is_complete:
            raise UrlNotFetched("Its answer broke off.")

    async def aclose(self) -> None:
        """Close what is read from."""
        if isinstance(self._stream, AsyncByteStream):
            await self._stream.aclose()


class _Unpacking:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(ANY_WRAPPER)
        self.is_complete = True
        """Whether what has come could be all: nothing, or members to their ends."""

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Unpack what has come, in pieces of `PIECE_BYTES` at most."""
        rest = received
        while rest or not self.is_complete:
            if self._member.eof:
                self._member = zlib.decompressobj(ANY_WRAPPER)
            try:
                piece = self._member.decompress(rest, PIECE_BYTES)
            except zlib.error:
                raise UrlNotFetched(
                    "Its answer is packed in a way that is not understood."
                ) from None
            self.is_complete = self._member.eof
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece
            elif not rest:
                return
