"""A child is there when it answers with 200, and not before."""

from pathlib import Path

import pytest

from jan import probe
from tests.fakes import Reply, Seen, fake_upstream


@pytest.mark.parametrize("name", [None, "a b#.sock"], ids=["port", "socket"])
async def test_only_a_good_answer_is_one(home: Path, name: str | None) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({}, status=503)

    async with fake_upstream(home / name if name else None) as upstream:
        upstream.script("/health", refuse)

        assert await probe.answers(upstream.url, "/v1/models")
        assert not await probe.answers(upstream.url, "/health")
        await upstream.kill()
        assert not await probe.answers(upstream.url, "/v1/models")
