"""Connections to one Valkey or Redis, or to a cluster of them: the few commands that Jan needs.

Imported where there is one only: the library costs 0.1 s.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread
from valkey.asyncio import Connection, ConnectionPool, UnixDomainSocketConnection, Valkey
from valkey.asyncio.cluster import ClusterNode, ValkeyCluster
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as Disconnected
from valkey.exceptions import NoScriptError, ResponseError

from jan.redis_address import RedisAddress, Tls
from jan.valkey.script import Script

MAX_RUNNING = 32
"""Commands at once, and connections: to each server of a cluster. Further ones wait."""
CLOSE_TIMEOUT_S = 3.0
PROBE_LIFETIME_MS = 1000
PROBE = Script("return redis.call('SET', KEYS[1], 'here', 'PX', ARGV[1])")
"""A replica, a full server or a role without rights would answer PING."""


@asynccontextmanager
async def connected(address: RedisAddress) -> AsyncGenerator["Client"]:
    """Have connections for as long as the block lasts; they are made when they are needed.

    Raises:
        OSError, ssl.SSLError: a certificate can't be read.
    """
    kind = Connection
    if address.tls is not None:
        # In a thread: it reads the certificates of the machine, for some 30 ms.
        kind = _over(await anyio.to_thread.run_sync(_context, address.tls))
    client = Client(_cluster(address, kind) if address.is_cluster else _server(address, kind))
    try:
        yield client
    finally:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True), suppress(Exception):
            await client.aclose()


class Client:
    """A bounded number of connections.

    Nothing here is bounded in time: who asks knows how long to wait. What goes wrong is raised as
    the library has it, as anything.
    """

    def __init__(self, server: Valkey | ValkeyCluster) -> None:
        self._server: Any = server  # what they have in common is in no type
        self._room = asyncio.Semaphore(MAX_RUNNING)

    async def aclose(self) -> None:
        """Close them, once nothing runs on them any more: whatever does would connect again."""
        for _ in range(MAX_RUNNING):
            await self._room.acquire()
        await self._server.aclose()

    async def prove(self, key: str) -> None:
        """See that it takes values and programs."""
        await self.run(PROBE, [key], [PROBE_LIFETIME_MS])

    async def ping(self) -> None:
        """See that it answers."""
        async with self._room:
            await self._server.ping()

    async def about(self) -> dict[str, Any]:
        """Tell what it says of itself; of a cluster, one of its servers."""
        async with self._room:
            return await self._server.info()

    async def get(self, key: str, max_bytes: int) -> bytes | None:
        """Read the first bytes of a value. None: there is none, or it is of another type."""
        async with self._room:
            try:
                return await self._server.getrange(key, 0, max_bytes - 1) or None
            except ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    return None
                raise

    async def put(self, key: str, value: bytes, lifetime_s: float) -> None:
        """Keep a value for so long, in place of any."""
        async with self._room:
            await self._server.set(key, value, px=max(round(lifetime_s * 1000), 1))

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[float | str]) -> Any:
        """Run a program on the server, all of it at once."""
        async with self._room:
            try:
                return await self._server.evalsha(script.digest, len(keys), *keys, *args)
            except NoScriptError:  # it is new there, or was started anew
                return await self._server.eval(script.source, len(keys), *keys, *args)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.checks_host
    context.verify_mode = ssl.CERT_REQUIRED if tls.is_verified else ssl.CERT_NONE
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


def _over(context: ssl.SSLContext) -> type[Connection]:
    """Connect with a context of ours.

    The library's own class reads the certificates anew for each connection, believes the machine's
    beside those that are named, and checks no host where nobody asks for it.
    """

    class Secured(Connection):
        def _connection_arguments(self) -> dict[str, Any]:
            return {**super()._connection_arguments(), "ssl": context}

    return Secured


def _login(address: RedisAddress) -> dict[str, Any]:
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": None,  # it makes a task for each command to watch over that
    }


def _server(address: RedisAddress, kind: type[Connection]) -> Valkey:
    said: dict[str, Any] = _login(address) | {"db": address.database}
    if address.path is not None:
        said |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
    else:
        host, port = address.hosts[0]
        said |= {"connection_class": kind, "host": host, "port": port}
    pool = ConnectionPool(
        # The other side may have closed a connection that was not used for long.
        retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        retry_on_error=[Disconnected],
        **said,
    )
    return Valkey.from_pool(pool)


def _cluster(address: RedisAddress, kind: type[Connection]) -> ValkeyCluster:
    cluster = ValkeyCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        # A server of it that is lost is looked for once more; what tries longer is `Memory`.
        cluster_error_retry_attempts=1,
        connection_error_retry_attempts=0,
        **_login(address),
    )
    # It has a parameter for its own class of connections over TLS, and for no other.
    cluster.connection_kwargs["connection_class"] = kind
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = kind
    return cluster
