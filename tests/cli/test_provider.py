"""`jan provider` and `jan model set|alias`: the registry is kept from a shell."""

import json
import os
import sys
from pathlib import Path

import anyio

SECRET = "s" * 32


async def run(box: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run `jan`. Returns its exit code and what it printed."""
    ended = await anyio.run_process(
        [sys.executable, "-m", "jan", *arguments], env=box, input=stdin.encode(), check=False
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def test_the_registry_is_kept_from_a_shell(home: Path, database_url: str) -> None:
    box = {
        **os.environ,
        "JAN_HOME": str(home),
        "JAN_DATABASE_URL": database_url,
        "JAN_API_KEY_SECRET": SECRET,
    }
    url = ("--url", "http://127.0.0.1:9/v1")
    added = await run(
        box, "provider", "add", "acme", *url, "--api-key-stdin", "--json", stdin="sk-hidden\n"
    )
    more = await run(box, "provider", "add-endpoint", "acme", "http://127.0.0.1:10")
    listed = await run(box, "provider", "list")
    checked = await run(box, "provider", "check", "acme")
    priced = await run(box, "model", "set", "a/b", "--prompt-price", "0.15", "--disable", "--json")
    shown = await run(box, "model", "registry")
    named = await run(box, "model", "alias", "small", "a/b")
    unnamed = await run(box, "model", "unalias", "small")
    wrong = await run(box, "model", "set", "a/b", "--prompt-price", "NaN")
    removed = await run(box, "provider", "remove", "acme", "--yes")

    assert added[0] == 0, added
    assert json.loads(added[1])["has_api_key"] is True
    assert more[0] == 0, more
    assert "127.0.0.1:10" in listed[1]
    assert checked[0] == 1
    assert json.loads(priced[1])["prompt_price"] == 150_000
    assert "0.15" in shown[1]
    assert (named[0], unnamed[0], wrong[0], removed[0]) == (0, 0, 1, 0), (named, wrong)
    assert "Traceback" not in wrong[2]
    assert "hidden" not in "".join((*added[1:], *listed[1:], *checked[1:]))
