"""`jan audit`: what was done by whom, and whether the log is whole."""

import json as json_
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import typer

from jan.cli import api, output
from jan.cli.api import Json, Org

app = typer.Typer(no_args_is_help=True)

PATH = "/v1/organization/audit_logs"
COLUMNS = {"when": "effective_at", "type": "type", "who": "who", "what": "subject"}


@app.command("list")
def list_(
    event: Annotated[
        list[str] | None, typer.Option("--type", help="Only acts of this type; repeat it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The latest so many.")] = 20,
    org: Org = None,
    json: Json = False,
) -> None:
    """List what was done, the latest first."""
    parameters = {"limit": limit, "event_types[]": event}
    page = api.run(lambda jan: jan.get(PATH, **parameters), org=org)
    rows = [{**act, "who": _who(act["actor"]), "subject": _subject(act)} for act in page["data"]]
    if json:
        output.data(page["data"], as_json=True, text="")
        return
    output.listing(rows, COLUMNS, as_json=False)


@app.command()
def export(org: Org = None) -> None:
    """Print every row, complete, as JSON lines, the oldest first."""

    async def act(jan: api.Api) -> None:
        async for line in _lines(jan):
            output.data(None, as_json=False, text=line)

    api.run(act, org=org)


@app.command()
def verify(
    expect: Annotated[
        str | None, typer.Option(help="Hash that an earlier run told: it must still be there.")
    ] = None,
    org: Org = None,
    json: Json = False,
) -> None:
    """Compute every hash anew, here, and say whether a row was changed, removed or moved.

    Note the last hash somewhere else: with `--expect` it proves later that nothing is missing at
    the end.
    """
    import msgspec

    from jan.audit.chain import Check, Link
    from jan.audit.schemas import Verdict
    from jan.errors import Conflict

    async def act(jan: api.Api) -> Verdict:
        check: Check | None = None
        async for line in _lines(jan):
            link = msgspec.json.decode(line, type=Link)
            check = check or Check(link.chain, expect)
            check.add(link)
        return (check or Check("", expect)).verdict()

    verdict = api.run(act, org=org)
    if verdict.broken is not None:
        raise Conflict(f"The audit log is not whole: {verdict.broken.reason}")
    output.say(f"{verdict.count} rows, all as they were written.")
    output.data(msgspec.to_builtins(verdict), as_json=json, text=verdict.hash)


async def _lines(jan: api.Api) -> AsyncGenerator[str]:
    after = 0
    while lines := await jan.lines(f"{PATH}/export", after=after):
        for line in lines:
            yield line
        after = json_.loads(lines[-1])["sequence"]


def _who(actor: dict[str, Any]) -> str:
    kind = actor["type"]
    found = actor.get(kind) or {}
    user = found.get("user") or {}
    return str(user.get("email") or found.get("id") or kind)


def _subject(act: dict[str, Any]) -> str:
    return str(act[act["type"]]["id"])
