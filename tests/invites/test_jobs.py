"""Invites that nobody accepted in time are marked, and kept."""

from jan.invites import jobs
from tests.conftest import execute, fetch
from tests.invites.conftest import Office, code_of


async def test_what_is_overdue_is_marked_as_expired_and_the_rest_is_left(office: Office) -> None:
    overdue = await office.invite("a@example.com")
    await execute("UPDATE invite SET expires_at = now() - interval '1 second'")
    pending, accepted = await office.invite("b@example.com"), await office.invite("c@example.com")
    await office.accept(code_of(accepted))

    for _ in range(2):
        await jobs.job().handler(None)

    rows = await fetch("SELECT id, status FROM invite")
    assert {row["id"]: row["status"] for row in rows} == {
        overdue.id: "expired",
        pending.id: "pending",
        accepted.id: "accepted",
    }
