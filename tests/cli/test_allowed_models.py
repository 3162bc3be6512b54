"""Which models organizations and projects may use, and their weights, said at a shell."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio


async def run(box: dict[str, str], *arguments: str) -> tuple[int, Any]:
    """Run `jan` with `--json`. Returns its exit code, and what it printed or why not."""
    argv = [sys.executable, "-m", "jan", *arguments, "--json"]
    ended = await anyio.run_process(argv, env=box, check=False)
    if ended.returncode:
        return ended.returncode, ended.stderr.decode()
    return 0, json.loads(ended.stdout)


async def test_lists_and_weights(home: Path, database_url: str) -> None:
    box = {**os.environ, "JAN_HOME": str(home), "JAN_DATABASE_URL": database_url}
    box["JAN_API_KEY_SECRET"] = "s" * 32
    _, org = await run(box, "org", "create", "acme")
    _, project = await run(box, "project", "create", "p", "--org", org["id"])
    of_project = ("project", "models", project["id"], "--org", org["id"])

    _, nothing = await run(box, *of_project)
    _, allowed = await run(box, *of_project, "--allow", "a", "--allow", "b")
    _, reset = await run(box, *of_project, "--reset")
    both = await run(box, *of_project, "--allow", "a", "--deny", "b")
    _, of_org = await run(box, "org", "models", org["id"], "--allow", "a")
    _, all_of_org = await run(box, "org", "models", org["id"], "--reset")
    _, heavy = await run(box, "project", "weight", project["id"], "5")
    _, shown = await run(box, "project", "weight", project["id"])
    wrong = await run(box, "project", "weight", project["id"], "0")
    absent = await run(box, "org", "models", "org_absent")

    assert (nothing["mode"], nothing["model_ids"]) == ("deny_list", [])
    assert (allowed["mode"], allowed["model_ids"]) == ("allow_list", ["a", "b"])
    assert reset == nothing
    assert (of_org["model_ids"], all_of_org["model_ids"]) == (["a"], None)
    assert heavy["queue_weight"] == shown["queue_weight"] == 5
    assert [both[0], wrong[0], absent[0]] == [1, 1, 1]
