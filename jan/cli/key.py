"""`jan key`: API keys."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Id of the key, `key_...`.")]
Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="Narrow it to this scope; repeat it.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Narrow it to this model; repeat it.")
]

PATH = "/v1/keys"
COLUMNS = {
    "id": "id",
    "name": "name",
    "kind": "kind",
    "project": "project_id",
    "key": "redacted_value",
    "status": "status",
    "created": "created_at",
    "expires": "expires_at",
    "last used": "last_used_at",
}


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, e.g. `ci`.")],
    kind: Annotated[
        str, typer.Option(help="project, service, ephemeral, organization or admin.")
    ] = "project",
    project: Annotated[
        str | None, typer.Option(help="Project it acts in; the organization's oldest otherwise.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Whose key it is, for kind service.")
    ] = None,
    scope: Scopes = None,
    model: Models = None,
    expires: Annotated[
        str | None, typer.Option(help="When it stops working: `30d`, or `2027-01-31`.")
    ] = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Create a key and print it, the only time it can be seen."""
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "project_id": project,
        "service_account_id": service_account,
        "scopes": scope,
        "allowed_models": model,
        "expires_at": int(_moment(expires).timestamp()) if expires else None,
    }
    made = api.run(lambda jan: jan.post(PATH, **body), org=org)
    _told(made, as_json=json)


@app.command("list")
def list_(
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """List all keys, those that no longer work included."""
    found = api.run(
        lambda jan: jan.all(PATH, project_id=project, kind=kind, include_revoked=True), org=org
    )
    output.listing(found, COLUMNS, as_json=json)


@app.command()
def show(key_id: KeyId, org: Org = None, json: Json = False) -> None:
    """Show one key, but not its secret: nobody has that."""
    key = api.run(lambda jan: jan.get(f"{PATH}/{part(key_id)}"), org=org)
    output.shown(key, COLUMNS, as_json=json)


@app.command()
def update(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    scope: Scopes = None,
    model: Models = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Change a key's name, scopes or models."""
    changes = {"name": name, "scopes": scope, "allowed_models": model}
    key = api.run(lambda jan: jan.post(f"{PATH}/{part(key_id)}", **changes), org=org)
    output.shown(key, COLUMNS, as_json=json)


@app.command()
def revoke(key_id: KeyId, org: Org = None) -> None:
    """Stop a key from working, everywhere within a second, and for good."""
    api.run(lambda jan: jan.delete(f"{PATH}/{part(key_id)}"), org=org)
    output.say(f"Revoked {key_id}.")


@app.command()
def rotate(key_id: KeyId, org: Org = None, yes: Yes = False, json: Json = False) -> None:
    """Give a key a new secret and print it. The old one stops working at once."""
    api.confirm(f"Rotate {key_id}? Its old secret stops working at once.", yes=yes)
    made = api.run(lambda jan: jan.post(f"{PATH}/{part(key_id)}/rotate"), org=org)
    _told(made, as_json=json)


def _told(key: dict[str, Any], *, as_json: bool) -> None:
    output.say(f"{key['id']}: store the key now, it is not shown again.")
    output.data(key, as_json=as_json, text=key["value"])


def _moment(text: str) -> "datetime":
    from datetime import datetime

    from jan import clock
    from jan.cli import durations

    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the latter for years that no time zone reaches
        return clock.now() + durations.parse(text, param="expires")
