"""`jan doctor`: what goes wrong in practice, and how to mend it."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from jan.cli import context, output

SIGNS = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check what goes wrong in practice, and say how to mend it. Exits with 1 on a failure."""
    from jan.doctor.examine import examine

    findings = asyncio.run(examine(context.loaded()))
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{SIGNS[finding.level]}  {finding.subject}: {finding.message}")
        if finding.hint:
            lines.append(f"      -> {finding.hint}")
    output.data([asdict(finding) for finding in findings], as_json=json, text="\n".join(lines))
    if any(finding.level == "failure" for finding in findings):
        raise typer.Exit(1)
