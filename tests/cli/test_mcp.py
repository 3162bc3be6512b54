"""`jan mcp`: servers are added, listed, tested and removed from a shell."""

import json
import os
import sys
from pathlib import Path

import anyio

from tests.tools.mcp_peers import Peer, serving

SECRET = "s" * 32


async def run(
    environment: dict[str, str], *arguments: str, stdin: str = ""
) -> tuple[int, str, str]:
    """Run `jan mcp`. Returns its exit code and what it printed."""
    ended = await anyio.run_process(
        [sys.executable, "-m", "jan", "mcp", *arguments],
        env=environment,
        input=stdin.encode(),
        check=False,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def test_servers_are_kept_from_a_shell(home: Path, database_url: str) -> None:
    peer = Peer()
    async with serving(peer) as url:
        box = {
            **os.environ,
            "JAN_HOME": str(home),
            "JAN_DATABASE_URL": database_url,
            "JAN_API_KEY_SECRET": SECRET,
            "JAN_OUTBOUND_ALLOW": url.split("/")[2],
        }
        header = ("--header", "X-Token: @-")
        added = await run(box, "add", "peer", url, *header, "--json", stdin="t0ken\n")
        server_id = json.loads(added[1])["id"]
        listed = await run(box, "list")
        tested = await run(box, "test", server_id)
        unwell = await run(box, "add", "gone", url + "x")
        refused = await run(box, "add", "ssh", "http://127.0.0.1:22/")
        removed = await run(box, "remove", server_id, "--yes")
        after = await run(box, "test", server_id)

    assert added[0] == 0, added
    assert "4 tools: add, fail, slow, picture" in added[2]
    assert server_id in listed[1]
    assert "t0ken" not in "".join((*added[1:], *listed[1:], *tested[1:]))
    assert tested[0] == 0
    assert (unwell[0], refused[0], removed[0], after[0]) == (1, 1, 0, 1)
    assert "`gone`" in unwell[2]
    assert "port 22" in refused[2]
