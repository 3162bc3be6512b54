"""`jan project`: projects."""

from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part
from jan.errors import InvalidRequest

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
def models(
    project_id: ProjectId,
    *,
    allow: Annotated[
        list[str] | None, typer.Option(help="A model that it may use, and none but such.")
    ] = None,
    deny: Annotated[list[str] | None, typer.Option(help="A model that it may not use.")] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="It may use all that its organization may.")
    ] = False,
    org: Org = None,
    json: Json = False,
) -> None:
    """Show which models a project may use, or say so in place of what was said."""
    if bool(allow) + bool(deny) + reset > 1:
        raise InvalidRequest("Give `--allow`, `--deny` or `--reset`: one of them.")
    path = f"{PATH}/{part(project_id)}/model_permissions"

    async def act(jan: api.Api) -> Any:
        if reset:
            await jan.delete(path)
        if allow or deny:
            mode = "allow_list" if allow else "deny_list"
            return await jan.post(path, mode=mode, model_ids=allow or deny)
        return await jan.get(path)

    found = api.run(act, org=org)
    names = ", ".join(found["model_ids"])
    is_allowed = found["mode"] == "allow_list"
    text = f"only {names or 'none'}" if is_allowed else f"all but {names}" if names else "all"
    output.data(found, as_json=json, text=text)


@app.command()
def weight(
    project_id: ProjectId,
    turns: Annotated[int | None, typer.Argument(help="From 1 to 100; not said: show it.")] = None,
    json: Json = False,
) -> None:
    """Show how many turns a project gets at a busy model beside one with 1, or say so."""
    path = f"/v1/admin/projects/{part(project_id)}/queue_weight"

    async def act(jan: api.Api) -> Any:
        return await (jan.get(path) if turns is None else jan.post(path, queue_weight=turns))

    found = api.run(act)
    output.data(found, as_json=json, text=str(found["queue_weight"]))


@app.command()
def archive(project_id: ProjectId, org: Org = None, yes: Yes = False) -> None:
    """Archive a project: its keys stop working, for good."""
    api.confirm(f"Archive {project_id}? Its keys stop working, for good.", yes=yes)
    api.run(lambda jan: jan.post(f"{PATH}/{part(project_id)}/archive"), org=org)
    output.say(f"Archived {project_id}.")
