"""`jan invite`: invites to an organization, by mail or by a link."""

from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part

app = typer.Typer(no_args_is_help=True)

InviteId = Annotated[str, typer.Argument(help="Id of the invite, `invite_...`.")]

PATH = "/v1/organization/invites"
COLUMNS = {
    "id": "id",
    "email": "email",
    "role": "role",
    "status": "status",
    "sent": "created_at",
    "expires": "expires_at",
    "accepted": "accepted_at",
}


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="Who is invited.")],
    role: Annotated[str, typer.Option(help="owner, reader or member.")] = "reader",
    project: Annotated[
        list[str] | None,
        typer.Option(help="Project that comes with it, `proj_...` or `proj_...=owner`; repeat it."),
    ] = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Invite somebody. Where no mail server is configured, the link is shown to you."""
    projects = [_project(text) for text in project or ()]
    body: dict[str, Any] = {"email": email, "role": role, "projects": projects}
    _told(api.run(lambda jan: jan.post(PATH, **body), org=org), as_json=json)


@app.command("list")
def list_(org: Org = None, json: Json = False) -> None:
    """List an organization's invites."""
    output.listing(api.run(lambda jan: jan.all(PATH), org=org), COLUMNS, as_json=json)


@app.command()
def show(invite_id: InviteId, org: Org = None, json: Json = False) -> None:
    """Show one invite."""
    found = api.run(lambda jan: jan.get(f"{PATH}/{part(invite_id)}"), org=org)
    output.shown(found, COLUMNS, as_json=json)


@app.command()
def resend(invite_id: InviteId, org: Org = None, json: Json = False) -> None:
    """Send an invite again, with a new code. The old one no longer works."""
    _told(api.run(lambda jan: jan.post(f"{PATH}/{part(invite_id)}/resend"), org=org), as_json=json)


@app.command()
def cancel(invite_id: InviteId, org: Org = None, yes: Yes = False) -> None:
    """Cancel an invite that was not accepted yet."""
    api.confirm(f"Cancel {invite_id}?", yes=yes)
    api.run(lambda jan: jan.delete(f"{PATH}/{part(invite_id)}"), org=org)
    output.say(f"Cancelled {invite_id}.")


def _project(text: str) -> dict[str, str]:
    project_id, _, role = text.partition("=")
    return {"id": project_id, "role": role or "member"}


def _told(invite: dict[str, Any], *, as_json: bool) -> None:
    link = invite.get("link")
    if link is None or as_json:
        output.shown(invite, COLUMNS, as_json=as_json)
        return
    output.say(f"Invited {invite['email']}. No mail server is configured: pass this link on.")
    output.data(invite, as_json=False, text=link)
