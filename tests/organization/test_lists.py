"""Lists of the administration: as quick at a long list's end as at a short one's."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import asyncpg

from jan.caller import Caller
from jan.db import scope
from jan.organization import members as organization_members
from jan.organization import service as organizations
from jan.pages import Page, Wanted
from jan.projects import accounts, members
from jan.projects import service as projects
from jan.users import service as users
from tests.conftest import execute

ROWS = 20_000
PAGE = 20

MOST_READ = 500
"""Rows of all tables together that a page may cost; a person is in a hundred projects here."""

FILL = f"""
INSERT INTO users (id, email, name, created_at)
SELECT 'user_' || n, n || '@example.com', '', now() + n * interval '1 ms'
FROM generate_series(1, {ROWS}) AS n;

INSERT INTO organization_member (organization_id, user_id, role, created_at)
SELECT o.id, u.id, 'member', u.created_at FROM users AS u, organization AS o WHERE o.is_default;

INSERT INTO project (id, organization_id, name, created_at, archived_at)
SELECT 'proj_' || n, o.id, 'x', now() + n * interval '1 ms',
       CASE WHEN n BETWEEN 1000 AND 19000 THEN now() END
FROM generate_series(1, {ROWS}) AS n, organization AS o WHERE o.is_default;

INSERT INTO project_member (project_id, organization_id, user_id, role, created_at)
SELECT 'proj_1', m.organization_id, m.user_id, 'member', m.created_at
FROM organization_member AS m;

INSERT INTO project_member (project_id, organization_id, user_id, role, created_at)
SELECT p.id, p.organization_id, 'user_2', 'member', p.created_at
FROM project AS p WHERE p.id LIKE 'proj_199__';

INSERT INTO service_account (id, project_id, organization_id, name, role, created_at)
SELECT 'svcacct_' || n, 'proj_1', o.id, 'x', 'member', now() + n * interval '1 ms'
FROM generate_series(1, {ROWS}) AS n, organization AS o WHERE o.is_default;

INSERT INTO organization (id, name, created_at)
SELECT 'org_' || n, 'x', now() + n * interval '1 ms' FROM generate_series(1, {ROWS}) AS n;
"""


@dataclass(frozen=True)
class List:
    """A list, and what is asked of it."""

    page: Callable[[Caller, Wanted], Awaitable[Page[Any]]]
    cursor: str
    """An id near its end."""
    sees_all: bool = False
    """Whether it is read by who administers this Jan."""


LISTS = {
    "projects": List(projects.page, "proj_19500"),
    "projects, archived ones too": List(
        lambda caller, wanted: projects.page(caller, wanted, has_archived=True), "proj_19500"
    ),
    "a person's projects": List(
        lambda caller, wanted: projects.page(
            replace(caller, kind="user", scopes=frozenset(), user_id="user_2"), wanted
        ),
        "proj_19950",
    ),
    "an organization's people": List(organization_members.page, "user_19500"),
    "people by their addresses": List(
        lambda caller, wanted: organization_members.page(
            caller, replace(wanted, after=None, before=None), ["19999@example.com"]
        ),
        "",
    ),
    "a project's people": List(
        lambda caller, wanted: members.page(caller, "proj_1", wanted), "user_19500"
    ),
    "service accounts": List(
        lambda caller, wanted: accounts.page(caller, "proj_1", wanted), "svcacct_19500"
    ),
    "everybody": List(users.page, "user_19500", sees_all=True),
    "everybody by their addresses": List(
        lambda caller, wanted: users.page(
            caller, replace(wanted, after=None, before=None), ["19999@example.com"]
        ),
        "",
        sees_all=True,
    ),
    "all organizations": List(organizations.page, "org_19500", sees_all=True),
}
DIRECTIONS = {
    "onwards": lambda cursor: Wanted(limit=PAGE, after=cursor or None),
    "backwards": lambda cursor: Wanted(limit=PAGE, after=cursor or None, order="desc"),
    "before": lambda cursor: Wanted(limit=PAGE, before=cursor or None),
    "from the start": lambda _: Wanted(limit=PAGE),
}


async def _rows_read(connection: Any) -> int:
    """Count what this connection has read, of which the server's statistics know nothing yet."""
    return await connection.fetchval(
        "SELECT COALESCE(sum(seq_tup_read), 0) + COALESCE(sum(idx_tup_fetch), 0)"
        " FROM pg_stat_xact_user_tables"
    )


async def test_a_page_costs_the_same_wherever_it_is_in_a_long_list(
    operator: Caller, owner_url: str
) -> None:
    await execute(FILL)
    connection = await asyncpg.connect(owner_url)
    await connection.execute("ANALYZE")
    await connection.close()

    costs: dict[tuple[str, str], int] = {}
    for name, wanted in LISTS.items():
        for direction, of in DIRECTIONS.items():
            opened = scope.system() if wanted.sees_all else scope.of(operator)
            if name == "a person's projects":
                opened = scope.of(replace(operator, user_id="user_2"))
            async with opened as connection:
                before = await _rows_read(connection)
                page = await wanted.page(operator, of(wanted.cursor))
                costs[name, direction] = await _rows_read(connection) - before
            assert page.data
            assert len(page.data) == PAGE or not wanted.cursor

    assert {of: cost for of, cost in costs.items() if cost > MOST_READ} == {}
