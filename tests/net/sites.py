"""Sites of others, some of them hostile, and the names they go by."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from jan.destinations import destination
from jan.errors import UrlNotFetched
from jan.net.addresses import Address
from jan.net.guard import Guard
from jan.net.policy import Policy
from tests.fakes import FakeUpstream, Reply, Seen


@dataclass
class Site(FakeUpstream):
    """A server that follows scripts, at an address of this machine."""

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.scripts = {}

    @property
    def is_connected(self) -> bool:
        """Whether somebody is connected."""
        return bool(self._writers)

    @property
    def url(self) -> str:
        """Its address, with the port."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def named(self, name: str) -> str:
        """Its address by a name."""
        return self.url.replace(self.host, name)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        """Send who asks for `path` elsewhere."""

        async def send(_: Seen, reply: Reply) -> None:
            await reply.whole(b"", status, location=location)

        self.script(path, send)

    def page(
        self, path: str, body: bytes, content_type: str = "text/plain", **headers: str
    ) -> None:
        """Answer with a document."""

        async def send(_: Seen, reply: Reply) -> None:
            await reply.whole(body, 200, content_type, **headers)

        self.script(path, send)


@asynccontextmanager
async def running_site(
    host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Site]:
    """Run one that says hello at `/`."""
    site = Site(host=host, port=port, tls=tls)
    site.page("/", b"hello")
    await site.start()
    try:
        yield site
    finally:
        await site.kill()


@dataclass
class Names:
    """A name server. A name with several answers gives the next at each question, the last on."""

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict[str, list[Sequence[str]]])
    asked: list[str] = field(default_factory=list[str])

    def say(self, name: str, *answers: Sequence[str]) -> None:
        """Answer so from now on."""
        self.answers[name] = list(answers)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:  # noqa: ARG002 - Protocol
        """Answer a question. Addresses are their own."""
        self.asked.append(host)
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        if host not in self.answers:
            raise UrlNotFetched("There is no such host.")
        left = self.answers[host]
        return [ip_address(text) for text in (left.pop(0) if len(left) > 1 else left[0])]

    def close(self) -> None:
        """Do nothing."""


def guard(  # noqa: PLR0913 - limits, each by its name
    *ports: int,
    names: Names | None = None,
    allow: Sequence[str] = ("127.0.0.1",),
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5,
    max_bytes: int = 100_000,
    max_redirects: int = 5,
) -> Guard:
    """Make a guard that lets through to 127.0.0.1, and to no other address of this machine."""
    return Guard(
        Policy(ports=frozenset(ports), allowed=tuple(map(destination, allow))),
        resolver=names,
        tls=tls,
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        max_redirects=max_redirects,
    )
