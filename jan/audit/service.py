"""The audit log: every administrative act and sign-in, in the transaction that does it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from jan import ids, pages
from jan.audit.chain import Check, Link
from jan.audit.schemas import ALL, OUTSIDE, Act, Actor, Details, Filter, Verdict
from jan.caller import Caller
from jan.db import paging, scope
from jan.db.reader import Reader
from jan.errors import InvalidRequest, NotFound
from jan.pages import Page, Wanted
from jan.permissions import Scope

MAX_EXPORTED = 1000
"""Rows at once, about a megabyte."""
PREFETCH_ROWS = 200
"""Of a chain in memory. Computing so many hashes holds up the event loop for a millisecond."""
BEFORE_ALL = -(2**63)
"""Less than any number of a row, of one that must not be there too."""

INSERT = """
INSERT INTO audit_log (id, organization_id, type, project_id, actor, details)
VALUES ($1, $2, $3, $4, $5, $6)
"""
SELECT = """
SELECT a.id, a.type, a.effective_at, a.sequence, a.hash, a.project_id, p.name AS project_name,
       a.actor, a.details
FROM audit_log AS a LEFT JOIN project AS p ON p.id = a.project_id
WHERE a.chain = $1
  AND a.effective_at >= COALESCE($2::timestamptz, '-infinity')
  AND a.effective_at < COALESCE($3::timestamptz, 'infinity')
  AND ($4::text[] IS NULL OR a.type = ANY($4))
  AND ($5::text[] IS NULL OR a.project_id = ANY($5))
  AND ($6::text[] IS NULL OR a.actor::jsonb ->> 'user_id' = ANY($6)
       OR a.actor::jsonb ->> 'service_account_id' = ANY($6)
       OR a.actor::jsonb ->> 'key_id' = ANY($6))
  AND ($7::text[] IS NULL OR a.actor::jsonb ->> 'email' = ANY($7))
  AND ($8::text[] IS NULL OR a.details::jsonb ->> 'id' = ANY($8))
"""
LINKS = """
SELECT id, organization_id, chain, sequence, type,
       to_char(effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS effective_at,
       project_id, actor, details, previous_hash, hash
FROM audit_log WHERE chain = $1 AND sequence > $2 ORDER BY sequence
"""
CHAINS = "SELECT DISTINCT chain FROM audit_log ORDER BY chain"


async def record(  # noqa: PLR0913 - as many as an act has sides
    caller: Caller,
    act: str,
    subject_id: str,
    *,
    project_id: str | None = None,
    organization_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write an act down, as part of the transaction that it happens in: both, or neither.

    `act` is OpenAI's word for it. `organization_id` is the caller's where none is named, and
    `OUTSIDE` for what is no organization's business. It is written at the transaction's end:
    other acts in the same organization wait for a moment only, and never for one another.
    """
    actor = Actor(
        kind=caller.kind,
        user_id=caller.user_id,
        email=caller.email,
        key_id=caller.key_id,
        service_account_id=caller.service_account_id,
        session_id=caller.session_id,
        address=caller.address,
        user_agent=caller.user_agent,
    )
    details = Details(
        id=subject_id,
        data=dict(data or {}),
        before=dict(before or {}),
        changes_requested=dict(changes or {}),
    )
    chain = organization_id or caller.organization_id or OUTSIDE
    values = (
        ids.new("audit"),
        None if chain == OUTSIDE else chain,
        act,
        project_id,
        _document(actor),
        _document(details),
    )
    async with scope.joined(caller):
        scope.at_the_end(f"audit {chain}", lambda connection: connection.execute(INSERT, *values))


async def page(
    caller: Caller, wanted: Wanted, which: Filter = ALL, *, chain: str | None = None
) -> Page[Act]:
    """List what was done in the caller's organization, or in another chain.

    Raises:
        Forbidden, NotFound: as `export`.
        InvalidRequest: the cursor is none of the list's ids.
    """
    name = _chain(caller, chain)
    values = (
        *(name, which.since, which.until, which.types, which.project_ids),
        *(which.actor_ids, which.actor_emails, which.subject_ids),
    )
    async with _reading(caller, name) as connection:
        rows = await paging.fetch(
            connection, SELECT, values, wanted, alias="a", instant="effective_at"
        )
    return pages.page([_act(row) for row in rows], wanted)


async def verify(
    caller: Caller, *, chain: str | None = None, expected: str | None = None
) -> Verdict:
    """Compute all hashes of a chain anew, without PostgreSQL's help, and compare.

    `chain` is the caller's organization where none is named. `expected` is a hash that was the last
    one once: only it can show that rows at the end are missing, or that all were written anew.

    Raises:
        Forbidden, NotFound: as `export`.
        InvalidRequest: `expected` is no hash.
    """
    name = _chain(caller, chain)
    check = Check(name, expected)
    block = scope.of(caller) if name == caller.organization_id else scope.of_all()
    async with block as connection:
        async for row in connection.cursor(LINKS, name, BEFORE_ALL, prefetch=PREFETCH_ROWS):
            check.add(Link(**row))
    return check.verdict()


async def export(
    caller: Caller, *, chain: str | None = None, after: int = 0, limit: int = MAX_EXPORTED
) -> list[Link]:
    """Read the next rows of a chain, complete, in its order: those after the number `after`.

    None are left when none come. Rows are never changed, so that pages read one after the other
    make the chain as it was when the last was read.

    Raises:
        Forbidden: the caller may not read the log.
        NotFound: there is no such chain, or none that the caller may see.
        InvalidRequest: `after` or `limit` does not fit.
    """
    name = _chain(caller, chain)
    if not 0 <= after < 2**63:
        raise InvalidRequest("`after` is the number of a row.", param="after")
    if limit < 1:
        raise InvalidRequest("`limit` is at least 1.", param="limit")
    async with _reading(caller, name) as connection:
        rows = await connection.fetch(f"{LINKS} LIMIT {min(limit, MAX_EXPORTED)}", name, after)
    return [Link(**row) for row in rows]


async def chains(caller: Caller) -> list[str]:
    """Name all chains that the caller may see, of organizations and `OUTSIDE`, if any.

    Raises:
        Forbidden: the caller may not read the log.
    """
    caller.require(Scope.AUDIT_READ)
    if not caller.is_platform:
        return [_chain(caller, None)]
    async with scope.system() as connection:
        return [row["chain"] for row in await connection.fetch(CHAINS)]


def _chain(caller: Caller, wanted: str | None) -> str:
    caller.require(Scope.AUDIT_READ)
    chain = wanted or caller.organization_id
    if chain is None or (chain != caller.organization_id and not caller.is_platform):
        raise NotFound(f"There is no log `{wanted}`.")
    return chain


def _reading(caller: Caller, chain: str) -> AbstractAsyncContextManager[Reader]:
    """Read one chain. Another organization's is no tenant's to see."""
    return scope.reading(caller) if chain == caller.organization_id else scope.reading_all()


def _document(value: Actor | Details) -> str:
    # PostgreSQL can't look into a document with NUL in it.
    return msgspec.json.encode(value).decode().replace("\\u0000", "\\ufffd")


def _act(row: Any) -> Act:
    values = dict(row)
    values["actor"] = msgspec.json.decode(values["actor"], type=Actor)
    values["details"] = msgspec.json.decode(values["details"], type=Details)
    return Act(**values)
