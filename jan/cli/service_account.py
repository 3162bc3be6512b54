"""`jan service-account`: programs that act in a project by keys of their own."""

from typing import Annotated

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part

app = typer.Typer(no_args_is_help=True)

Project = Annotated[str, typer.Option("--project", help="Id of the project, `proj_...`.")]
AccountId = Annotated[str, typer.Argument(help="Id of the service account, `svcacct_...`.")]

COLUMNS = {"id": "id", "name": "name", "role": "role", "created": "created_at"}


@app.command("list")
def list_(project: Project, org: Org = None, json: Json = False) -> None:
    """List a project's service accounts."""
    output.listing(api.run(lambda jan: jan.all(_path(project)), org=org), COLUMNS, as_json=json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    project: Project,
    org: Org = None,
    json: Json = False,
) -> None:
    """Create a service account and print its key, the only time it can be seen."""
    made = api.run(lambda jan: jan.post(_path(project), name=name), org=org)
    output.say(f"Created {made['id']}. Store the key now: it is not shown again.")
    output.data(made, as_json=json, text=made["api_key"]["value"])


@app.command()
def show(account_id: AccountId, project: Project, org: Org = None, json: Json = False) -> None:
    """Show one service account."""
    found = api.run(lambda jan: jan.get(f"{_path(project)}/{part(account_id)}"), org=org)
    output.shown(found, COLUMNS, as_json=json)


@app.command()
def delete(account_id: AccountId, project: Project, org: Org = None, yes: Yes = False) -> None:
    """Delete a service account and its keys."""
    api.confirm(f"Delete {account_id} and its keys?", yes=yes)
    api.run(lambda jan: jan.delete(f"{_path(project)}/{part(account_id)}"), org=org)
    output.say(f"Deleted {account_id}.")


def _path(project: str) -> str:
    return f"/v1/organization/projects/{part(project)}/service_accounts"
