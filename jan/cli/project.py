"""`jan project`: projects."""

from typing import Annotated

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part

app = typer.Typer(no_args_is_help=True)

ProjectId = Annotated[str, typer.Argument(help="Id of the project, `proj_...`.")]
Name = Annotated[str, typer.Option(help="What it is to be called.")]

PATH = "/v1/organization/projects"
COLUMNS = {
    "id": "id",
    "name": "name",
    "status": "status",
    "created": "created_at",
    "archived": "archived_at",
}


@app.command("list")
def list_(
    archived: Annotated[bool, typer.Option(help="List archived ones too.")] = False,
    org: Org = None,
    json: Json = False,
) -> None:
    """List an organization's projects."""
    found = api.run(lambda jan: jan.all(PATH, include_archived=archived), org=org)
    output.listing(found, COLUMNS, as_json=json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    org: Org = None,
    json: Json = False,
) -> None:
    """Create a project."""
    made = api.run(lambda jan: jan.post(PATH, name=name), org=org)
    output.shown(made, COLUMNS, as_json=json)


@app.command()
def show(project_id: ProjectId, org: Org = None, json: Json = False) -> None:
    """Show one project."""
    found = api.run(lambda jan: jan.get(f"{PATH}/{part(project_id)}"), org=org)
    output.shown(found, COLUMNS, as_json=json)


@app.command()
def update(project_id: ProjectId, name: Name, org: Org = None, json: Json = False) -> None:
    """Rename a project."""
    changed = api.run(lambda jan: jan.post(f"{PATH}/{part(project_id)}", name=name), org=org)
    output.shown(changed, COLUMNS, as_json=json)


@app.command()
def archive(project_id: ProjectId, org: Org = None, yes: Yes = False) -> None:
    """Archive a project: its keys stop working, for good."""
    api.confirm(f"Archive {project_id}? Its keys stop working, for good.", yes=yes)
    api.run(lambda jan: jan.post(f"{PATH}/{part(project_id)}/archive"), org=org)
    output.say(f"Archived {project_id}.")
