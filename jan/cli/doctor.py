"""`jan doctor`: what goes wrong in practice, and how to mend it."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jan.cli import context, output

if TYPE_CHECKING:
    from jan.doctor.findings import Finding

SIGNS = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check what goes wrong in practice, and say how to mend it. Exits with 1 on a failure."""
    from jan.doctor.examine import examine

    findings = asyncio.run(examine(context.loaded()))
    text = "\n".join(line for finding in findings for line in lines(finding))
    output.data([asdict(finding) for finding in findings], as_json=json, text=text)
    if any(finding.level == "failure" for finding in findings):
        raise typer.Exit(1)


def lines(finding: "Finding") -> list[str]:
    """Write what was found for a person."""
    said = [f"{SIGNS[finding.level]}  {finding.subject}: {finding.message}"]
    return [*said, f"      -> {finding.hint}"] if finding.hint else said
