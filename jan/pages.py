"""Lists in pages: what a client may ask for, and what it gets, as in OpenAI's API.

A cursor is the id of an object at a page's edge; the order is that of creation, and the id breaks
ties, so that nothing is skipped or told twice while new objects come.
Source: https://platform.openai.com/docs/api-reference/administration
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from jan.errors import InvalidRequest

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
MAX_CURSOR_LENGTH = 128


class HasId(Protocol):
    """What can stand at a page's edge."""

    @property
    def id(self) -> str:
        """Its public id."""
        ...


T = TypeVar("T", bound=HasId)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page. At most one of `after` and `before` is set."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None
    before: str | None = None
    order: Literal["asc", "desc"] = "asc"

    @property
    def cursor(self) -> str | None:
        """The id that the page begins behind, or ends before."""
        return self.after or self.before

    @property
    def cursor_param(self) -> str:
        """What the client called it."""
        return "before" if self.before else "after"

    @property
    def reads_up(self) -> bool:
        """Whether rows are read in ascending order: before a cursor it is the other one."""
        return (self.order == "asc") != (self.before is not None)


class Page(msgspec.Struct, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool
    """Whether the list goes on in the direction that was read."""
    object: Literal["list"] = "list"
    first_id: str | None = None
    last_id: str | None = None


def read(  # noqa: PLR0913 - as many as a list has parameters
    limit: int | None = None,
    after: str | None = None,
    before: str | None = None,
    order: str | None = None,
    last: str | None = None,
    *,
    default_order: Literal["asc", "desc"] = "asc",
) -> Wanted:
    """Read the parameters of a list. `last` is Jan's older name of `after`.

    Raises:
        InvalidRequest: one does not fit; `param` names it.
    """
    if limit is not None and limit < 1:
        raise InvalidRequest("`limit` is at least 1.", param="limit")
    if order not in {None, "asc", "desc"}:
        raise InvalidRequest("`order` is `asc` or `desc`.", param="order")
    after = after or last
    if after and before:
        raise InvalidRequest("Give `after` or `before`, not both.", param="before")
    for name, cursor in (("after", after), ("before", before)):
        if cursor and (len(cursor) > MAX_CURSOR_LENGTH or not cursor.isprintable()):
            raise InvalidRequest(f"`{name}` is no id.", param=name)
    return Wanted(
        limit=min(limit or DEFAULT_LIMIT, MAX_LIMIT),
        after=after or None,
        before=before or None,
        order="desc" if (order or default_order) == "desc" else "asc",
    )


def kept_of(rows: Sequence[R], wanted: Wanted) -> list[R]:
    """Give the rows that are on the page, in its order. They were read as `page` has it."""
    kept = list(rows[: wanted.limit])
    if wanted.before is not None:
        kept.reverse()
    return kept


def page(rows: Sequence[T], wanted: Wanted) -> Page[T]:
    """Make the page of rows that were read in the order of `reads_up`, one more than `limit`."""
    kept = kept_of(rows, wanted)
    return Page(
        data=kept,
        has_more=len(rows) > wanted.limit,
        first_id=kept[0].id if kept else None,
        last_id=kept[-1].id if kept else None,
    )


def mapped(page: Page[T], show: Callable[[T], Any]) -> Page[Any]:
    """Make the same page of other objects, such as those that go over the wire."""
    return Page(
        data=[show(each) for each in page.data],
        has_more=page.has_more,
        first_id=page.first_id,
        last_id=page.last_id,
    )
