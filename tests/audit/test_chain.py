"""The chain: whatever is done to the log behind Jan's back is seen."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from jan.audit import service as audit
from jan.audit.chain import GENESIS, Check, Link, digest
from jan.audit.schemas import OUTSIDE
from jan.caller import Caller
from jan.errors import Forbidden, InvalidRequest, NotFound
from jan.permissions import Scope
from tests.conftest import execute

ROWS = 10


@pytest.fixture
async def log(operator: Caller) -> list[Link]:
    """Ten rows in the default organization's log."""
    for number in range(ROWS):
        await audit.record(
            operator, "project.created", f"proj_{number}", data={"name": f'Ä "{number}"\n'}
        )
    return await audit.export(operator)


async def test_an_untouched_chain_is_intact(operator: Caller, log: list[Link]) -> None:
    verdict = await audit.verify(operator)

    assert verdict.broken is None
    assert (verdict.chain, verdict.count) == (operator.organization_id, ROWS)
    assert (verdict.sequence, verdict.hash) == (ROWS, log[-1].hash)
    assert [link.previous_hash for link in log] == [GENESIS, *(link.hash for link in log[:-1])]


async def test_an_empty_chain_is_intact(operator: Caller) -> None:
    verdict = await audit.verify(operator, expected=GENESIS)

    assert (verdict.count, verdict.sequence, verdict.hash) == (0, 0, GENESIS)
    assert verdict.broken is None


@pytest.mark.parametrize(
    "change",
    [
        "details = replace(details, 'proj_4', 'proj_5')",
        'actor = \'{"kind":"user","user_id":"user_1"}\'',
        "type = 'project.updated'",
        "project_id = 'proj_other'",
        "effective_at = effective_at - interval '1 microsecond'",
        "id = 'audit_other'",
        "hash = repeat('a', 64)",
        "previous_hash = repeat('a', 64)",
        "organization_id = NULL",
    ],
)
async def test_a_changed_row_is_found(
    operator: Caller, log: list[Link], intruder: Any, change: str
) -> None:
    await intruder.execute(f"UPDATE audit_log SET {change} WHERE sequence = 5")

    broken = (await audit.verify(operator)).broken

    assert broken
    assert broken.sequence == 5
    assert broken.id == ("audit_other" if "audit_other" in change else log[4].id)


async def test_a_changed_row_whose_hash_was_made_to_fit_is_found_at_the_next(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    changed = msgspec.structs.replace(log[4], details='{"id":"proj_x"}')
    await intruder.execute(
        "UPDATE audit_log SET details = $1, hash = $2 WHERE sequence = 5",
        changed.details,
        digest(changed),
    )

    broken = (await audit.verify(operator)).broken

    assert broken
    assert (broken.sequence, broken.id) == (6, log[5].id)


async def test_a_missing_row_is_found(operator: Caller, log: list[Link], intruder: Any) -> None:
    await intruder.execute("DELETE FROM audit_log WHERE sequence = 5")

    verdict = await audit.verify(operator)

    assert verdict.broken
    assert (verdict.broken.sequence, verdict.broken.id) == (5, None)
    assert (verdict.count, verdict.sequence) == (ROWS - 1, ROWS)


async def test_a_missing_row_whose_gap_was_closed_is_found(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    await intruder.execute("DELETE FROM audit_log WHERE sequence = 5")
    await intruder.execute("UPDATE audit_log SET sequence = sequence + 100 WHERE sequence > 5")
    await intruder.execute("UPDATE audit_log SET sequence = sequence - 101 WHERE sequence > 100")

    broken = (await audit.verify(operator)).broken

    assert broken
    assert (broken.sequence, broken.id) == (5, log[5].id)


@pytest.mark.parametrize("is_rehashed", [False, True])
async def test_swapped_rows_are_found(
    operator: Caller, log: list[Link], intruder: Any, is_rehashed: bool
) -> None:
    for was, becomes in ((5, 100), (6, 5), (100, 6)):
        await intruder.execute(
            "UPDATE audit_log SET sequence = $2 WHERE sequence = $1", was, becomes
        )
    for link in (await audit.export(operator))[4:6] if is_rehashed else []:
        await intruder.execute(
            "UPDATE audit_log SET hash = $2 WHERE id = $1", link.id, digest(link)
        )

    broken = (await audit.verify(operator)).broken

    assert broken
    assert (broken.sequence, broken.id) == (5, log[5].id)


async def test_a_row_before_the_first_is_found(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    await intruder.execute("ALTER TABLE audit_log DROP CONSTRAINT audit_log_sequence_check")
    await intruder.execute(
        "INSERT INTO audit_log SELECT 'audit_x', organization_id, chain, 0, type, effective_at,"
        " project_id, actor, details, previous_hash, hash FROM audit_log WHERE sequence = 1"
    )

    broken = (await audit.verify(operator)).broken

    assert broken
    assert broken.sequence == 1


async def test_a_row_that_was_moved_to_another_organization_is_missed(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    await intruder.execute(
        "UPDATE audit_log SET chain = 'org_x', organization_id = 'org_x' WHERE sequence = 5"
    )

    broken = (await audit.verify(operator)).broken

    assert broken
    assert (broken.sequence, broken.id) == (5, None)


async def test_missing_rows_at_the_end_are_found_by_who_knows_the_last_hash(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    await intruder.execute("DELETE FROM audit_log WHERE sequence > 7")

    assert (await audit.verify(operator)).broken is None
    assert (await audit.verify(operator, expected=log[6].hash)).broken is None
    broken = (await audit.verify(operator, expected=log[-1].hash)).broken
    assert broken
    assert (broken.sequence, broken.id) == (8, None)


async def test_a_log_that_was_written_anew_is_found_by_who_knows_the_last_hash(
    operator: Caller, log: list[Link], intruder: Any
) -> None:
    await intruder.execute("DELETE FROM audit_log")
    for number in range(ROWS):
        await audit.record(operator, "project.created", f"proj_{number}")

    assert (await audit.verify(operator)).broken is None
    assert (await audit.verify(operator, expected=log[-1].hash)).broken


async def test_a_log_that_has_grown_still_has_the_hash_that_was_its_last(
    operator: Caller, log: list[Link]
) -> None:
    await audit.record(operator, "project.archived", "proj_1")

    verdict = await audit.verify(operator, expected=log[-1].hash)

    assert (verdict.broken, verdict.count) == (None, ROWS + 1)


@pytest.mark.parametrize("expected", ["", "x", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
async def test_what_is_no_hash_is_refused(operator: Caller, expected: str) -> None:
    with pytest.raises(InvalidRequest):
        await audit.verify(operator, expected=expected)


def test_rows_out_of_order_are_found_without_a_database() -> None:
    link = Link(
        id="audit_1",
        organization_id=None,
        chain=OUTSIDE,
        sequence=1,
        type="login.succeeded",
        effective_at="2026-11-24T00:00:00.000000Z",
        project_id=None,
        actor="{}",
        details="{}",
        previous_hash=GENESIS,
        hash="",
    )
    link = msgspec.structs.replace(link, hash=digest(link))
    check = Check(OUTSIDE)
    check.add(link)
    assert check.verdict().broken is None

    check.add(link)

    broken = check.verdict().broken
    assert broken
    assert "comes where row 2 should" in broken.reason


async def test_chains_do_not_touch(operator: Caller, log: list[Link]) -> None:
    await execute("INSERT INTO organization (id, name) VALUES ('org_b', 'B')")
    other = replace(operator, organization_id="org_b")
    await audit.record(other, "project.created", "proj_b")
    await audit.record(replace(operator, organization_id=None), "login.succeeded", "user_1")

    found = {
        chain: await audit.verify(operator, chain=chain) for chain in await audit.chains(other)
    }

    assert {chain: verdict.count for chain, verdict in found.items()} == {
        operator.organization_id: ROWS,
        "org_b": 1,
        OUTSIDE: 1,
    }
    assert not any(verdict.broken for verdict in found.values())


async def test_only_who_administers_all_sees_other_chains(
    operator: Caller, log: list[Link]
) -> None:
    await execute("INSERT INTO organization (id, name) VALUES ('org_b', 'B')")
    auditor = Caller(kind="user", scopes=frozenset({Scope.AUDIT_READ}), organization_id="org_b")

    assert await audit.chains(auditor) == ["org_b"]
    assert (await audit.verify(auditor)).count == 0
    for chain in (operator.organization_id, OUTSIDE, "org_missing"):
        with pytest.raises(NotFound):
            await audit.verify(auditor, chain=chain)
        with pytest.raises(NotFound):
            await audit.export(auditor, chain=chain)
    nobody = replace(auditor, scopes=frozenset())
    for refused in (audit.verify, audit.export, audit.chains):
        with pytest.raises(Forbidden):
            await refused(nobody)


async def test_the_log_is_exported_in_pages(operator: Caller, log: list[Link]) -> None:
    pages = [await audit.export(operator, after=after, limit=4) for after in (0, 4, 8, 10)]

    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert [link for page in pages for link in page] == log


@pytest.mark.parametrize(("after", "limit"), [(-1, 1), (2**63, 1), (0, 0), (0, -1)])
async def test_a_page_that_can_not_be_is_refused(operator: Caller, after: int, limit: int) -> None:
    with pytest.raises(InvalidRequest):
        await audit.export(operator, after=after, limit=limit)


async def test_the_hash_does_not_depend_on_how_a_session_writes_texts_and_times(
    operator: Caller, intruder: Any
) -> None:
    await intruder.execute("SET session_replication_role = origin; SET timezone = 'Asia/Kathmandu'")
    await intruder.execute(
        "SET datestyle = 'German'; SET lc_messages = 'C'; SET quote_all_identifiers = on"
    )

    await intruder.execute(
        "INSERT INTO audit_log (id, organization_id, type, actor, details)"
        " VALUES ('audit_1', $1, 'project.created', '{}', '{\"id\":\"Łódź\"}')",
        operator.organization_id,
    )

    assert (await audit.verify(operator)).broken is None
