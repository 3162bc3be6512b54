"""`jan self-check`: this copy of Jan, tried out."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jan.cli import context, output
from jan.cli.doctor import lines

if TYPE_CHECKING:
    from jan.doctor.findings import Finding


def self_check(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Try this copy of Jan out, in a temporary home: start, key, chat, stop. Exits with 1 if not.

    An engine and a model that are installed are used; without them no engine is tried.
    """
    from jan.doctor import trial

    findings: list[Finding] = []

    def report(finding: "Finding") -> None:
        findings.append(finding)
        if not json:  # some steps take long: tell what is known by now
            output.data(None, as_json=False, text="\n".join(lines(finding)))

    is_well = asyncio.run(trial.run(context.loaded(), report))
    if json:
        output.data([asdict(finding) for finding in findings], as_json=True, text="")
    if not is_well:
        raise typer.Exit(1)
