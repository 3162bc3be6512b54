"""`jan user`: the people of this Jan."""

import asyncio
import sys
from typing import Annotated

import typer

from jan.cli import api, context, output
from jan.cli.api import Json, Yes, part

app = typer.Typer(no_args_is_help=True)

UserId = Annotated[str, typer.Argument(help="Id of the person, `user_...`.")]

PATH = "/v1/users"
COLUMNS = {
    "id": "id",
    "email": "email",
    "name": "name",
    "guest": "is_guest",
    "enabled": "is_enabled",
    "created": "created_at",
    "last sign-in": "last_login_at",
}


@app.command("list")
def list_(json: Json = False) -> None:
    """List everybody, guests included."""
    output.listing(api.run(lambda jan: jan.all(PATH)), COLUMNS, as_json=json)


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="Their e-mail address.")],
    name: Annotated[str | None, typer.Option(help="Their name.")] = None,
    password_stdin: Annotated[
        bool, typer.Option(help="Read a password from standard input.")
    ] = False,
    json: Json = False,
) -> None:
    """Make an account for a person. Without a password they sign in by mail or a provider."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    made = api.run(lambda jan: jan.post(PATH, email=email, name=name, password=password))
    output.shown(made, COLUMNS, as_json=json)


@app.command()
def show(user_id: UserId, json: Json = False) -> None:
    """Show one person."""
    output.shown(api.run(lambda jan: jan.get(f"{PATH}/{part(user_id)}")), COLUMNS, as_json=json)


@app.command()
def update(
    user_id: UserId, name: Annotated[str, typer.Option(help="Their name.")], json: Json = False
) -> None:
    """Change a person's name."""
    changed = api.run(lambda jan: jan.post(f"{PATH}/{part(user_id)}", name=name))
    output.shown(changed, COLUMNS, as_json=json)


@app.command()
def disable(user_id: UserId) -> None:
    """Stop all that is a person's from working, at once: sign-in, sessions, keys."""
    api.run(lambda jan: jan.post(f"{PATH}/{part(user_id)}", is_enabled=False))
    output.say(f"Disabled {user_id}.")


@app.command()
def enable(user_id: UserId) -> None:
    """Let a person in again. Their keys work again; they have to sign in anew."""
    api.run(lambda jan: jan.post(f"{PATH}/{part(user_id)}", is_enabled=True))
    output.say(f"Enabled {user_id}.")


@app.command()
def delete(user_id: UserId, yes: Yes = False) -> None:
    """Delete a person with their own project and keys."""
    api.confirm(f"Delete {user_id} with all that is theirs?", yes=yes)
    api.run(lambda jan: jan.delete(f"{PATH}/{part(user_id)}"))
    output.say(f"Deleted {user_id}.")


@app.command("reset-link")
def reset_link(
    email: Annotated[str, typer.Argument(help="Their e-mail address.")],
    url: Annotated[
        str | None, typer.Option(help="Where Jan is reached, if not where settings say.")
    ] = None,
    json: Json = False,
) -> None:
    """Print a link by which a person sets a new password, where no mail can be sent.

    A link that was made before is void.
    """
    from jan import keyring
    from jan.auth import reset
    from jan.auth.codes import Codes
    from jan.db import session

    loaded = context.loaded(public_url=url)

    async def run() -> str:
        async with session.opened(loaded):
            codes = Codes(keyring.load(loaded.settings).api_key_secret)
            return await reset.link(email, codes=codes, url=loaded.settings.url)

    link = asyncio.run(run())
    output.say("Hand this link over: whoever opens it sets the password. It works once.")
    output.data({"url": link}, as_json=json, text=link)
