"""The recipe in the documents does what it says, without Jan."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from jan.audit import service as audit
from jan.audit.chain import Link
from jan.caller import Caller

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## The audit log")[2].partition("\n## ")[0]
RECIPE = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


def judged(links: list[Link]) -> subprocess.CompletedProcess[str]:
    """Run the recipe on exported rows."""
    lines = b"".join(msgspec.json.encode(link) + b"\n" for link in links)
    return subprocess.run(
        [sys.executable, "-I", "-c", RECIPE[0]],
        input=lines.decode(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
async def links(operator: Caller) -> list[Link]:
    """Some rows."""
    for number in range(3):
        await audit.record(
            operator, "project.created", "proj_1", project_id="proj_1", data={"name": f"Ä{number}"}
        )
    await audit.record(operator, "login.succeeded", "user_1")
    return await audit.export(operator)


async def test_rows_as_they_were_written_pass(operator: Caller, links: list[Link]) -> None:
    run = judged(links)

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split() == ["4", (await audit.verify(operator)).hash]


async def test_rows_that_were_changed_do_not(links: list[Link]) -> None:
    changed = msgspec.structs.replace(links[1], details="{}")
    for tampered in ([links[0], changed, *links[2:]], [links[0], *links[2:]], links[::-1]):
        run = judged(tampered)
        assert run.returncode == 1
        assert run.stdout == ""
        assert re.search(r"row [12]\b", run.stderr)
