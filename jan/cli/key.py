"""`jan key`: API keys."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from jan.cli import context, output

if TYPE_CHECKING:
    from datetime import datetime

    from jan.caller import Caller
    from jan.keys.schemas import Key

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, `key_...`.")]

COLUMNS = ("id", "name", "hint", "status", "created", "expires", "last used")


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, e.g. `ci`.")],
    expires: Annotated[
        str | None, typer.Option(help="When it stops working: `30d`, or `2027-01-31`.")
    ] = None,
    json: Json = False,
) -> None:
    """Create a key and print it, the only time it can be seen."""
    from jan import keyring
    from jan.keys import service as keys
    from jan.keys.schemas import KeyCreate

    loaded = context.loaded()
    wanted = KeyCreate(name=name, expires_at=_moment(expires) if expires else None)
    secret = keyring.load(loaded.settings).api_key_secret
    new = _run(lambda operator: keys.create(operator, wanted, hmac_secret=secret))
    output.say(f"Created {new.key.id}. Store the key now: it is not shown again.")
    output.data({**asdict(new.key), "key": new.secret}, as_json=json, text=new.secret)


@app.command("list")
def list_(json: Json = False) -> None:
    """List all keys, those that no longer work included."""
    from jan.keys import service as keys
    from jan.pages import MAX_LIMIT, Wanted

    found = _run(lambda operator: keys.page(operator, Wanted(limit=MAX_LIMIT))).data
    output.data(
        [_shown(key) for key in found],
        as_json=json,
        text=output.table(COLUMNS, [_row(key) for key in found]),
    )


@app.command()
def show(key_id: KeyId, json: Json = False) -> None:
    """Show one key, but not its secret: nobody has that."""
    from jan.keys import service as keys

    key = _run(lambda operator: keys.get(operator, key_id))
    output.data(_shown(key), as_json=json, text=output.table(COLUMNS, [_row(key)]))


@app.command()
def revoke(key_id: KeyId) -> None:
    """Stop a key from working, everywhere within a second, and for good."""
    from jan.keys import service as keys

    key = _run(lambda operator: keys.revoke(operator, key_id))
    output.say(f"Revoked {key.id} ({key.name}).")


def _run(act: "Callable[[Caller], Awaitable[T]]") -> T:
    from jan.db import session
    from jan.organization import access

    async def run() -> T:
        async with session.opened(context.loaded()):
            return await act(await access.operator())

    return asyncio.run(run())


def _moment(text: str) -> "datetime":
    from datetime import datetime

    from jan import clock
    from jan.cli import durations

    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the latter for years that no time zone reaches
        return clock.now() + durations.parse(text, param="expires")


def _row(key: "Key") -> tuple[object, ...]:
    from jan import clock

    status = key.status(clock.now())
    return (
        *(key.id, key.name, f"...{key.hint}", status),
        *(key.created_at, key.expires_at, key.last_used_at),
    )


def _shown(key: "Key") -> dict[str, object]:
    from jan import clock

    return {**asdict(key), "status": key.status(clock.now())}
