"""What all processes remember together, in a Valkey or Redis, for as long as it is there.

Nothing in it is needed: whoever uses it goes on without it, and has to say how. A server that fails
once is left alone by all requests of the process from then on; one task looks for it, again and
again, and lets them back to it. Nobody waits for it for longer than `TIMEOUT_S`.

Keys begin with a word that the secrets of this Jan make, so that several may share a server. What
is kept is sealed under its key: who else writes there, or reads, can neither put words into Jan's
mouth nor learn any.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar

import anyio
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jan import clock, keyring
from jan.errors import Unavailable
from jan.keyring import Keyring
from jan.redis_address import RedisAddress
from jan.settings import Settings
from jan.valkey.script import Script

if TYPE_CHECKING:
    from jan.valkey.client import Client

TIMEOUT_S = 0.5
"""It takes a millisecond, or something is wrong with it."""
CONNECT_TIMEOUT_S = 3.0
"""For who looks whether it is there. No request waits for that."""
PAUSE_S = 0.5
"""Between two looks, doubled after each, and some of it left to chance: gateways that lost it
together do not come back together."""
MAX_PAUSE_S = 10.0
STEADY_S = 60.0
"""One that stays for so long, and is lost then, is looked for soon again."""
MAX_VALUE_BYTES = 2 * 1024 * 1024
"""Longer ones are not kept, and not read whoever wrote them."""

NONCE_BYTES = 12
SEAL_BYTES = NONCE_BYTES + 16
"""What a sealed value is longer by."""

T = TypeVar("T")

log = structlog.get_logger("jan.valkey")


class Away(Exception):
    """It is not there, or not as it should be. Go on without it."""


class Memory:
    """What is remembered. Let it `run`: before that, nothing is there."""

    def __init__(self, address: RedisAddress, api_key_secret: str) -> None:
        self._address = address
        self._cipher = AESGCM(keyring.derive(api_key_secret, "valkey values"))
        self._prefix = f"jan:{keyring.derive(api_key_secret, 'valkey keys').hex()[:12]}:"
        self._client: Client | None = None
        self._failure: asyncio.Future[None] | None = None
        """Of that client: whoever meets it first says it here."""
        self._is_told_away = False

    @classmethod
    def configured(cls, settings: Settings, secrets: Keyring) -> Self | None:
        """Make the one that the settings name, if they do."""
        address = settings.redis
        return None if address is None else cls(address, secrets.api_key_secret)

    async def run(self) -> Never:
        """Look for it, and have it used while it is well, for ever."""
        pause_s = PAUSE_S
        while True:
            looked_s = clock.monotonic_s()
            try:
                await self._hold()
            except Exception as error:  # noqa: BLE001 - the library raises anything
                if not self._is_told_away:  # once, not at every look
                    reason = f"{type(error).__name__}: {error}"
                    log.warning("valkey is not used", place=self._address.place, reason=reason)
                self._is_told_away = True
            if clock.monotonic_s() - looked_s > STEADY_S:
                pause_s = PAUSE_S
            await anyio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def check(self) -> None:
        """See whether it is there.

        Raises:
            Unavailable: it is not.
        """
        try:
            await self._ask(lambda client: client.ping())
        except Away:
            raise Unavailable("Valkey is not used: the log says why.") from None

    async def get(self, name: str) -> bytes | None:
        """Tell what was put under a name. None: nothing, or not by a Jan with these secrets.

        Raises:
            Away: nobody knows.
        """
        key = self._prefix + name
        sealed = await self._ask(lambda client: client.get(key, MAX_VALUE_BYTES + SEAL_BYTES))
        try:
            return sealed and self._cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], key.encode()
            )
        except (InvalidTag, ValueError):
            return None

    async def put(self, name: str, value: bytes, lifetime_s: float) -> None:
        """Keep something for so long, if there is room for it, in place of what was there.

        Raises:
            Away: it is not kept.
        """
        if len(value) > MAX_VALUE_BYTES:
            return
        key, nonce = self._prefix + name, os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value, key.encode())
        await self._ask(lambda client: client.put(key, sealed, lifetime_s))

    async def run_script(
        self, script: Script, names: Sequence[str], args: Sequence[float | str]
    ) -> Any:
        """Run a program on what is under these names.

        Raises:
            Away: it did not run; or it did, and nobody heard of it.
        """
        keys = [self._prefix + name for name in names]
        return await self._ask(lambda client: client.run(script, keys, args))

    async def _ask(self, question: "Callable[[Client], Awaitable[T]]") -> T:
        client, failure = self._client, self._failure
        if client is None or failure is None:
            raise Away
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await question(client)
        except Exception as error:
            if not failure.done():
                self._client = None  # at once: nobody else is to wait for it
                failure.set_exception(error)
            raise Away from error

    async def _hold(self) -> None:
        """Have it used until it fails. Raises what it failed with, or why it can't be used."""
        from jan.valkey import client as valkey  # noqa: PLC0415 - 0.1 s, for who has a server

        async with valkey.connected(self._address) as client:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.prove(self._prefix + "probe")
            self._failure = asyncio.get_running_loop().create_future()
            self._client, self._is_told_away = client, False
            log.info("valkey is used", place=self._address.place)
            try:
                await self._failure
            finally:
                self._client = None
