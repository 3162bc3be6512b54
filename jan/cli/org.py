"""`jan org`: organizations."""

from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Yes, part
from jan.errors import InvalidRequest

app = typer.Typer(no_args_is_help=True)

OrgId = Annotated[str, typer.Argument(help="Id of the organization, `org_...`.")]

PATH = "/v1/organizations"
COLUMNS = {
    "id": "id",
    "name": "name",
    "default": "is_default",
    "created": "created_at",
    "kept days": "retention_days",
}


@app.command("list")
def list_(json: Json = False) -> None:
    """List all organizations of this Jan."""
    output.listing(api.run(lambda jan: jan.all(PATH)), COLUMNS, as_json=json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    owner_email: Annotated[
        str | None, typer.Option(help="Somebody with an account, who is to own it.")
    ] = None,
    json: Json = False,
) -> None:
    """Create an organization."""
    made = api.run(lambda jan: jan.post(PATH, name=name, owner_email=owner_email))
    output.shown(made, COLUMNS, as_json=json)


@app.command()
def show(org_id: OrgId, json: Json = False) -> None:
    """Show one organization."""
    output.shown(api.run(lambda jan: jan.get(f"{PATH}/{part(org_id)}")), COLUMNS, as_json=json)


@app.command()
def update(
    org_id: OrgId,
    name: Annotated[str, typer.Option(help="What it is to be called.")],
    json: Json = False,
) -> None:
    """Rename an organization."""
    changed = api.run(lambda jan: jan.post(f"{PATH}/{part(org_id)}", name=name))
    output.shown(changed, COLUMNS, as_json=json)


@app.command()
def models(
    org_id: OrgId,
    *,
    allow: Annotated[
        list[str] | None, typer.Option(help="A model that it may use, and none but such.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="It may use all.")] = False,
    json: Json = False,
) -> None:
    """Show which models an organization may use, or say so."""
    if allow and reset:
        raise InvalidRequest("Give `--allow` or `--reset`, not both.")
    path = f"/v1/admin/organizations/{part(org_id)}/models"

    async def act(jan: api.Api) -> Any:
        if reset or allow:
            return await jan.patch(path, model_ids=allow or None)
        return await jan.get(path)

    found = api.run(act)
    names = found["model_ids"]
    text = "all" if names is None else f"only {', '.join(names) or 'none'}"
    output.data(found, as_json=json, text=text)


@app.command()
def delete(org_id: OrgId, yes: Yes = False) -> None:
    """Delete an organization with all that is in it: projects, keys, members, invites."""

    async def act(jan: api.Api) -> str:
        name = (await jan.get(f"{PATH}/{part(org_id)}"))["name"]
        api.confirm(f"Delete the organization {name} and all that is in it?", yes=yes)
        await jan.delete(f"{PATH}/{part(org_id)}", confirm=name)
        return name

    output.say(f"Deleted {org_id} ({api.run(act)}).")
