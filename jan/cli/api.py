"""The administration API for commands: of another Jan over the network, or of this one in process.

Either way a command sends the same requests to the same routes, so that it works alike on the box,
with or without `jan serve` running, and from afar. On the box, whoever can open the database is the
operator and needs no key.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast
from urllib.parse import quote

import typer

from jan.cli import context, output
from jan.errors import JanError, Misconfigured, Unavailable

if TYPE_CHECKING:
    import httpx

    from jan.settings import Loaded, Settings

T = TypeVar("T")

PAGE = 100
TIMEOUT_S = 60.0
"""For one answer. Deleting an organization takes the longest."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Org = Annotated[
    str | None, typer.Option("--org", help="Organization, `org_...`; the default one otherwise.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Refused(JanError):
    """What the API said, for the terminal."""


class Api:
    """Sends requests, and turns refusals into errors."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def get(self, path: str, **parameters: Any) -> Any:
        """Fetch one object."""
        return await self._ask("GET", path, parameters)

    async def all(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Fetch a whole list, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self._ask("GET", path, {"limit": PAGE, **parameters})
            found += page["data"]
            if not page["has_more"]:
                return found
            parameters["after"] = page["last_id"]

    async def post(self, path: str, **fields: Any) -> Any:
        """Create or change something. Fields that are None are not sent."""
        body = {name: value for name, value in fields.items() if value is not None}
        return await self._ask("POST", path, {}, body)

    async def patch(self, path: str, **fields: Any) -> Any:
        """Change something. None is sent as null."""
        return await self._ask("PATCH", path, {}, fields)

    async def delete(self, path: str, **parameters: Any) -> Any:
        """Delete something."""
        return await self._ask("DELETE", path, parameters)

    async def lines(self, path: str, **parameters: Any) -> list[str]:
        """Fetch JSON lines."""
        answer = await self._send("GET", path, parameters)
        return answer.text.splitlines()

    async def _ask(
        self, method: str, path: str, parameters: dict[str, Any], body: Any = None
    ) -> Any:
        return (await self._send(method, path, parameters, body)).json()

    async def _send(
        self, method: str, path: str, parameters: dict[str, Any], body: Any = None
    ) -> "httpx.Response":
        import httpx

        said = {name: value for name, value in parameters.items() if value is not None}
        try:
            answer = await self._client.request(method, path, params=said, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self._client.base_url} does not answer ({type(error).__name__}: {error})."
            ) from None
        if answer.is_success:
            return answer
        raise _refusal(answer)


def _refusal(answer: "httpx.Response") -> JanError:
    try:
        said = answer.json()["error"]
        return Refused(str(said["message"]), param=said.get("param"))
    except (ValueError, KeyError, TypeError):
        return Refused(f"The server answered with status {answer.status_code}.")


def part(text: str) -> str:
    """Write an id as one part of a path, whatever is in it."""
    return quote(text, safe="")


def run(act: Callable[[Api], Awaitable[T]], *, org: str | None = None) -> T:
    """Do something with the API of the Jan that the options name.

    Raises:
        JanError: it was refused, with the sentence of the API; or nothing answered.
    """

    async def go() -> T:
        async with _opened(context.loaded(), org) as api:
            return await act(api)

    return asyncio.run(go())


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what can't be undone. Without a person to ask, `--yes` has to be said.

    Raises:
        typer.Abort: the answer was no.
    """
    if not yes and not typer.confirm(question, err=True):
        output.say("Nothing was done.")
        raise typer.Exit(1)


@asynccontextmanager
async def _opened(loaded: "Loaded", org: str | None) -> AsyncGenerator[Api]:
    import httpx

    headers = {"openai-organization": org} if org else {}
    if loaded.settings.server is not None:
        headers["authorization"] = f"Bearer {_admin_key(loaded.settings)}"
        async with httpx.AsyncClient(
            base_url=loaded.settings.server, headers=headers, timeout=TIMEOUT_S
        ) as client:
            yield Api(client)
        return

    from jan import keyring
    from jan.db import session
    from jan.gateway import administration

    async with session.opened(loaded):
        app = administration.create_app(loaded.settings, keyring.load(loaded.settings))
        transport = httpx.ASGITransport(cast("Any", app))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://jan", headers=headers, timeout=TIMEOUT_S
        ) as client:
            yield Api(client)


def _admin_key(settings: "Settings") -> str:
    if settings.admin_key is None:
        raise Misconfigured(
            f"No key for {settings.server}.",
            hint="Set JAN_ADMIN_KEY to an admin key: `jan key create --kind admin` there.",
        )
    return settings.admin_key.get_secret_value()
