"""`jan provider`: who serves models, and at which addresses."""

import sys
from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Yes, part
from jan.errors import InvalidRequest

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name, or its id, `prov_...`.")]
KeyStdin = Annotated[
    bool,
    typer.Option("--api-key-stdin", help="Read its API key from standard input."),
]
Prefix = Annotated[str | None, typer.Option(help="Put before the names of its models.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model of it that is used; else all.")
]
Weight = Annotated[int | None, typer.Option(help="It gets so many times the work of one with 1.")]
MaxRunning = Annotated[int | None, typer.Option(help="Most requests there at once.")]

PATH = "/v1/admin/providers"
COLUMNS = {
    "id": "id",
    "name": "name",
    "kind": "kind",
    "managed by": "managed_by",
    "key": "has_api_key",
    "prefix": "prefix",
    "enabled": "enabled",
    "endpoints": "addresses",
}
ENDPOINTS = {
    "id": "id",
    "url": "url",
    "state": "state",
    "weight": "weight",
    "at a time": "max_running",
    "enabled": "enabled",
    "error": "last_error",
}
LOOKED = {"url": "url", "ok": "ok", "ms": "latency_ms", "models": "names", "error": "error"}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is called here.")],
    *,
    url: Annotated[str, typer.Option(help="Its address, such as https://host:8000/v1.")],
    kind: Annotated[str, typer.Option(help="`openai`, or `jan` for another Jan.")] = "openai",
    api_key_stdin: KeyStdin = False,
    prefix: Prefix = None,
    model: Models = None,
    weight: Weight = None,
    max_running: MaxRunning = None,
    json: Json = False,
) -> None:
    """Register a server that speaks OpenAI's protocol."""
    fields = {
        "name": name,
        "url": url,
        "kind": kind,
        "api_key": _key(from_stdin=api_key_stdin),
        "prefix": prefix,
        "models": model or None,
        "weight": weight,
        "max_running": max_running,
    }
    _tell(api.run(lambda jan: jan.post(PATH, **fields)), as_json=json)


@app.command("list")
def list_(*, json: Json = False) -> None:
    """List providers."""
    found = api.run(lambda jan: jan.all(PATH))
    output.listing([_shown(each) for each in found], COLUMNS, as_json=json)


@app.command()
def show(name: Name, *, json: Json = False) -> None:
    """Show a provider."""
    _tell(api.run(lambda jan: jan.get(f"{PATH}/{part(name)}")), as_json=json)


@app.command()
def endpoints(name: Name, *, json: Json = False) -> None:
    """Show how a provider's endpoints are."""
    found = api.run(lambda jan: jan.get(f"{PATH}/{part(name)}"))
    output.listing(found["endpoints"], ENDPOINTS, as_json=json)


@app.command()
def update(
    name: Name,
    *,
    rename: Annotated[str | None, typer.Option(help="What it is called from now on.")] = None,
    kind: Annotated[str | None, typer.Option(help="`openai` or `jan`.")] = None,
    api_key_stdin: KeyStdin = False,
    no_api_key: Annotated[bool, typer.Option("--no-api-key", help="Forget its API key.")] = False,
    prefix: Prefix = None,
    model: Models = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Use all its models.")] = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Use it.")] = None,
    json: Json = False,
) -> None:
    """Change a provider. What is not said stays."""
    said = {"name": rename, "kind": kind, "prefix": prefix, "models": model or None}
    said |= {"enabled": enable, "api_key": _key(from_stdin=api_key_stdin)}
    fields: dict[str, Any] = {field: value for field, value in said.items() if value is not None}
    if no_api_key:
        fields["api_key"] = None
    if all_models:
        fields["models"] = None
    if not fields:
        raise InvalidRequest("Nothing is to change.")
    _tell(api.run(lambda jan: jan.patch(f"{PATH}/{part(name)}", **fields)), as_json=json)


@app.command()
def remove(name: Name, *, yes: Yes = False) -> None:
    """Forget a provider, its endpoints and its API key."""
    api.confirm(f"Remove {name}?", yes=yes)
    api.run(lambda jan: jan.delete(f"{PATH}/{part(name)}"))
    output.say(f"Removed {name}.")


@app.command()
def check(name: Name, *, json: Json = False) -> None:
    """Ask a provider for its models now. Exits with 1 if one of its endpoints does not answer."""
    found = api.run(lambda jan: jan.post(f"{PATH}/{part(name)}/check"))["data"]
    rows = [{**each, "names": ", ".join(each["models"])} for each in found]
    output.listing(found if json else rows, LOOKED, as_json=json)
    if not found or not all(each["ok"] for each in found):
        raise typer.Exit(1)


@app.command("add-endpoint")
def add_endpoint(
    name: Name,
    url: Annotated[str, typer.Argument(help="The address. The provider's API key is sent there.")],
    *,
    weight: Weight = None,
    max_running: MaxRunning = None,
    json: Json = False,
) -> None:
    """Add an address at which a provider answers, too."""
    fields = {"url": url, "weight": weight, "max_running": max_running}
    made = api.run(lambda jan: jan.post(f"{PATH}/{part(name)}/endpoints", **fields))
    output.shown(made, ENDPOINTS, as_json=json)


@app.command("remove-endpoint")
def remove_endpoint(
    name: Name,
    endpoint: Annotated[str, typer.Argument(help="Its id, `ep_...`, or its address.")],
    *,
    yes: Yes = False,
) -> None:
    """Forget an address of a provider."""
    api.confirm(f"Remove {endpoint} from {name}?", yes=yes)

    async def act(jan: api.Api) -> Any:
        one = f"{PATH}/{part(name)}"
        found = (await jan.get(one))["endpoints"]
        ids = [each["id"] for each in found if each["url"] == endpoint]
        return await jan.delete(f"{one}/endpoints/{part(ids[0] if ids else endpoint)}")

    api.run(act)
    output.say(f"Removed {endpoint}.")


def _key(*, from_stdin: bool) -> str | None:
    """Read an API key from where neither a shell's history nor a list of processes has it."""
    return sys.stdin.read().strip() if from_stdin else None


def _shown(provider: dict[str, Any]) -> dict[str, Any]:
    said = (f"{each['url']} ({each['state']})" for each in provider["endpoints"])
    return {**provider, "addresses": ", ".join(said)}


def _tell(provider: dict[str, Any], *, as_json: bool) -> None:
    output.shown(provider if as_json else _shown(provider), COLUMNS, as_json=as_json)
