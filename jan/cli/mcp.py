"""`jan mcp`: remote MCP servers that models may use."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org, Yes, part
from jan.errors import InvalidRequest, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(no_args_is_help=True)

ServerId = Annotated[str, typer.Argument(help="Id of the server, `mcps_...`.")]
Project = Annotated[
    str | None, typer.Option("--project", help="Project, `proj_...`; all of them otherwise.")
]

PATH = "/v1/mcp/servers"
COLUMNS = {
    "id": "id",
    "label": "label",
    "url": "url",
    "project": "project_id",
    "enabled": "enabled",
    "status": "status",
    "checked": "last_checked_at",
    "error": "last_error",
}


@app.command()
def add(
    label: Annotated[str, typer.Argument(help="What requests call it by, such as `wiki`.")],
    url: Annotated[str, typer.Argument(help="Its address, such as https://host/mcp.")],
    project: Project = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="Sent with each request: `Name: value`, `Name: @FILE` or `Name: @-`."),
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="A tool that may be used; all of them otherwise.")
    ] = None,
    approval: Annotated[
        str, typer.Option(help="Whether a person has to agree to each call: `always` or `never`.")
    ] = "always",
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Register a server, and ask it for its tools. Exits with 1 if it does not answer well."""
    headers = dict(_header(each) for each in header or [])

    async def act(jan: api.Api) -> Any:
        made = await jan.post(
            PATH,
            label=label,
            url=url,
            project_id=project,
            headers=headers or None,
            allowed_tools=tool or None,
            require_approval=approval,
            description=description,
        )
        return await jan.post(f"{PATH}/{made['id']}/test")

    _tell(api.run(act, org=org), as_json=json)


@app.command("list")
def list_(project: Project = None, org: Org = None, json: Json = False) -> None:
    """List an organization's servers, or those that can be used in a project."""
    found = api.run(lambda jan: jan.all(PATH, project_id=project), org=org)
    output.listing(found, COLUMNS, as_json=json)


@app.command("test")
def check(server_id: ServerId, org: Org = None, json: Json = False) -> None:
    """Ask a server for its tools now. Exits with 1 if it does not answer well."""
    found = api.run(lambda jan: jan.post(f"{PATH}/{part(server_id)}/test"), org=org)
    _tell(found, as_json=json)


@app.command()
def remove(server_id: ServerId, org: Org = None, yes: Yes = False) -> None:
    """Forget a server, and its credentials."""
    api.confirm(f"Remove {server_id}?", yes=yes)
    api.run(lambda jan: jan.delete(f"{PATH}/{part(server_id)}"), org=org)
    output.say(f"Removed {server_id}.")


def _tell(server: dict[str, Any], *, as_json: bool) -> None:
    output.shown(server, COLUMNS, as_json=as_json)
    for reason in server["left_out"]:
        output.say(f"Can't be used: {reason}")
    if server["last_error"]:
        output.say(server["last_error"])
        raise typer.Exit(1)
    names: Sequence[str] = server["tool_names"]
    output.say(f"{len(names)} tools: {', '.join(names)}" if names else "No tools.")


def _header(said: str) -> tuple[str, str]:
    """Read `Name: value`. A value of `@FILE` stands for a file's content: no shell remembers it."""
    name, colon, value = said.partition(":")
    if not colon or not name.strip():
        raise InvalidRequest(f"`{name}` is no header: write `Name: value`.")
    value = value.strip()
    if value.startswith("@"):
        try:
            read = sys.stdin.read() if value == "@-" else Path(value[1:]).read_text("utf-8")
        except OSError as error:
            raise Misconfigured(f"Can't read {value[1:]}: {error.strerror}.") from None
        value = read.strip()
    return name.strip(), value
