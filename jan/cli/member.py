"""`jan member`: who is in an organization, or in one of its projects."""

from typing import Annotated

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part

app = typer.Typer(no_args_is_help=True)

UserId = Annotated[str, typer.Argument(help="Id of the person, `user_...`.")]
Project = Annotated[
    str | None, typer.Option("--project", help="In this project, `proj_...`, rather than in all.")
]
Role = Annotated[str, typer.Option(help="owner, reader or member; in a project: owner or member.")]

COLUMNS = {"id": "id", "email": "email", "name": "name", "role": "role", "since": "added_at"}


@app.command("list")
def list_(project: Project = None, org: Org = None, json: Json = False) -> None:
    """List the members."""
    found = api.run(lambda jan: jan.all(_path(project)), org=org)
    output.listing(found, COLUMNS, as_json=json)


@app.command()
def add(
    who: Annotated[str, typer.Argument(help="Id or e-mail address of somebody with an account.")],
    role: Role = "member",
    project: Project = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Add somebody who has an account. `jan invite create` is for others."""
    person = {"email": who} if "@" in who else {"user_id": who}
    made = api.run(lambda jan: jan.post(_path(project), role=role, **person), org=org)
    output.shown(made, COLUMNS, as_json=json)


@app.command()
def show(user_id: UserId, project: Project = None, org: Org = None, json: Json = False) -> None:
    """Show one member."""
    found = api.run(lambda jan: jan.get(f"{_path(project)}/{part(user_id)}"), org=org)
    output.shown(found, COLUMNS, as_json=json)


@app.command()
def update(
    user_id: UserId, role: Role, project: Project = None, org: Org = None, json: Json = False
) -> None:
    """Give a member another role. An organization's last owner stays one."""
    path = f"{_path(project)}/{part(user_id)}"
    changed = api.run(lambda jan: jan.post(path, role=role), org=org)
    output.shown(changed, COLUMNS, as_json=json)


@app.command()
def remove(user_id: UserId, project: Project = None, org: Org = None, yes: Yes = False) -> None:
    """Take a member out. Out of the organization, their keys in it are deleted."""
    where = project or "the organization, with their keys in it"
    api.confirm(f"Remove {user_id} from {where}?", yes=yes)
    api.run(lambda jan: jan.delete(f"{_path(project)}/{part(user_id)}"), org=org)
    output.say(f"Removed {user_id}.")


def _path(project: str | None) -> str:
    if project is None:
        return "/v1/organization/users"
    return f"/v1/organization/projects/{part(project)}/users"
