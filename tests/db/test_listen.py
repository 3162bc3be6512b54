"""Notifications are waited for, whatever is wrong with the server."""

import anyio
import pytest
from structlog.testing import capture_logs

from jan.db import listen


async def test_trouble_of_any_kind_is_told_once_and_waited_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen, "MAX_RETRY_S", listen.RETRY_S / 25)
    states: list[bool] = []

    with capture_logs() as lines, anyio.move_on_after(0.5) as waiting:
        url = "postgresql://jan@127.0.0.1:1/jan?sslmode=bogus"
        await listen.listen(url, "jan_keys", lambda _: None, states.append)

    assert waiting.cancelled_caught
    assert [line["event"] for line in lines] == ["no notifications"]
    assert True not in states
