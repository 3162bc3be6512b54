"""What providers answered lately, kept for a while for whoever asks the same.

An answer is known by a digest of the provider, of how it is set up, and of everything that the
question says; the question itself is not kept, nor who asked. What is kept is what the provider
tells everybody, so tenants share it. They are in Valkey where there is one, and in the database
otherwise, and while it is away. Whatever is wrong with both, one can still ask anew.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import structlog

from jan import clock
from jan.db import scope
from jan.errors import DatabaseUnavailable
from jan.tools.provider import Json
from jan.valkey.memory import Away, Memory

MAX_ANSWER_BYTES = 1024 * 1024
"""Longer ones are not kept."""
TIMEOUT_S = 2.0
"""A provider answers as quickly."""

GET = "SELECT answer FROM tool_answer WHERE key = $1 AND expires_at > $2"
PUT = """
INSERT INTO tool_answer (key, provider, answer, size_bytes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, size_bytes = excluded.size_bytes,
    created_at = excluded.created_at, expires_at = excluded.expires_at
"""
IN_VALKEY = "tool answer"
"""What their keys begin with there."""
TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too

log = structlog.get_logger("jan.tools")


class Answers:
    """The kept ones."""

    def __init__(self, lifetime_s: float, memory: Memory | None = None) -> None:
        """Keep for so long; 0: not at all."""
        self._lifetime = timedelta(seconds=lifetime_s)
        self._memory = memory

    async def get(self, key: str) -> Json | None:
        """Find one. None: there is none, or it can't be read."""
        if not self._lifetime:
            return None
        try:
            kept = await self._read(key)
        except TROUBLE as error:
            log.warning("kept answers can't be read", reason=type(error).__name__)
            return None
        return None if kept is None else msgspec.json.decode(kept)

    async def put(self, key: str, provider: str, answer: Json) -> None:
        """Keep one, if that is possible."""
        encoded = msgspec.json.encode(answer)
        if not self._lifetime or len(encoded) > MAX_ANSWER_BYTES:
            return
        try:
            await self._write(key, provider, encoded)
        except TROUBLE as error:
            log.warning("an answer can't be kept", reason=type(error).__name__)

    async def _read(self, key: str) -> bytes | None:
        if self._memory is not None:
            with suppress(Away):
                return await self._memory.get(f"{IN_VALKEY} {key}")
        async with scope.system() as connection:
            return await connection.fetchval(GET, key, clock.now(), timeout=TIMEOUT_S)

    async def _write(self, key: str, provider: str, encoded: bytes) -> None:
        if self._memory is not None:
            with suppress(Away):
                lifetime_s = self._lifetime.total_seconds()
                return await self._memory.put(f"{IN_VALKEY} {key}", encoded, lifetime_s)
        now = clock.now()
        values = (key, provider, encoded, len(encoded), now, now + self._lifetime)
        async with scope.system() as connection:
            await connection.execute(PUT, *values, timeout=TIMEOUT_S)
        return None


def key(*names: str, asked: Mapping[str, Any]) -> str:
    """Digest who is asked, and what: all of it, however it is ordered, spaced or composed."""
    plain = {
        name: _plain(value) if isinstance(value, str) else value for name, value in asked.items()
    }
    document = msgspec.json.encode([names, sorted(plain.items())])
    return hashlib.sha256(document).hexdigest()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
