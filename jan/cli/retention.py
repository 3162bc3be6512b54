"""`jan retention`: for how long an organization keeps conversations and responses."""

from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Api, Json, Org, Yes, part
from jan.errors import InvalidRequest

app = typer.Typer(no_args_is_help=True)

PATH = "/v1/organizations"
COLUMNS = {"id": "id", "name": "name", "days": "retention_days"}


@app.command()
def show(org: Org = None, json: Json = False) -> None:
    """Show for how many days they are kept; `-` is for ever."""

    async def act(jan: Api) -> Any:
        return await _organization(jan, org)

    output.shown(api.run(act), COLUMNS, as_json=json)


@app.command("set")
def set_(
    days: Annotated[int, typer.Argument(help="1 to 36500.")],
    org: Org = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete conversations that nobody changed, and responses that ended, so many days ago."""

    async def act(jan: Api) -> Any:
        found = await _organization(jan, org)
        api.confirm(f"Delete for good what is older than {days} days in {found['name']}?", yes=yes)
        return await jan.patch(f"{PATH}/{part(found['id'])}", retention_days=days)

    output.shown(api.run(act), COLUMNS, as_json=json)
    output.say("What is older is deleted within the hour, by a job.")


@app.command()
def clear(org: Org = None, json: Json = False) -> None:
    """Keep everything from now on. What was deleted does not come back."""

    async def act(jan: Api) -> Any:
        found = await _organization(jan, org)
        return await jan.patch(f"{PATH}/{part(found['id'])}", retention_days=None)

    output.shown(api.run(act), COLUMNS, as_json=json)


async def _organization(jan: Api, org: str | None) -> dict[str, Any]:
    """Find the organization that is meant: the default one, or the only one of the key.

    Raises:
        InvalidRequest: none was named, and several may be meant.
    """
    if org is not None:
        return await jan.get(f"{PATH}/{part(org)}")
    seen = await jan.all(PATH)
    meant = [each for each in seen if each["is_default"]] or seen
    if len(meant) != 1:
        raise InvalidRequest("Say which organization is meant: `--org org_...`.", param="org")
    return meant[0]
