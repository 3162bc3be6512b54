"""What looking at instances has to do with: the fleet, who looks, and what is found."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from jan.inference.condition import Condition
from jan.inference.registry import Endpoint, Registry, Served, State


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a look found, for all processes."""

    endpoint: Endpoint
    state: State
    since: datetime
    last_error: str | None
    served: tuple[Served, ...]
    checked_at: datetime
    latency_ms: float | None
    is_news: bool
    """Whether anything but the time of the look differs from what is written."""


class Watch(Protocol):
    """Who of all processes looks."""

    on_change: Callable[[], None]
    on_doubt: Callable[[str], None]

    @property
    def is_connected(self) -> bool:
        """Whether others can be heard. If not, each looks for itself."""
        ...

    def leads(self, endpoint: Endpoint) -> bool:
        """Whether this process looks at it for all."""
        ...

    def found(self, finding: Finding) -> None:
        """Write down what was found, for all."""
        ...

    def doubt(self, endpoint_id: str) -> None:
        """Ask whoever leads to look at once."""
        ...


class Alone:
    """A watch without others: this process looks for itself, and tells nobody."""

    is_connected = False

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.on_doubt: Callable[[str], None] = lambda _: None

    def leads(self, endpoint: Endpoint) -> bool:  # noqa: ARG002 - as the Protocol has it
        """Lead nobody."""
        return False

    def found(self, finding: Finding) -> None:
        """Tell nobody."""

    def doubt(self, endpoint_id: str) -> None:
        """Ask nobody."""


class Instance(Protocol):
    """One endpoint, as the fleet has it."""

    @property
    def endpoint(self) -> Endpoint:
        """What is known of it."""
        ...

    @property
    def condition(self) -> Condition:
        """How it is."""
        ...


class Fleet(Protocol):
    """What requests are sent to."""

    @property
    def instances(self) -> Mapping[str, Instance]:
        """By the endpoint's id."""
        ...

    def apply(self, registry: Registry) -> None:
        """Know this from now on."""
        ...

    def turned(self, endpoint_id: str) -> None:
        """Take notice that an instance's condition has changed."""
        ...
