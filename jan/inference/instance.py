"""One endpoint as a process uses it: its connections, what it does for us, how it fares."""

from jan import clock
from jan.inference.client import Client
from jan.inference.condition import Condition
from jan.inference.registry import Endpoint, Served
from jan.inference.upstream import Upstream

MAX_REST_S = 60.0
"""Whoever asks for more is tried again by then all the same."""


class Instance:
    """An endpoint at which requests are answered."""

    def __init__(self, endpoint: Endpoint, *, connect_timeout_s: float, shared_by: int = 1) -> None:
        """`shared_by` so many processes, each of which gets its part of the room."""
        self.condition = Condition()
        self.upstream = Upstream(
            Client(endpoint.url, connect_timeout_s=connect_timeout_s), api_key=endpoint.api_key
        )
        self._shared_by = shared_by
        self.running = 0
        """Requests of ours that it has not answered."""
        self.resting_until_s = 0.0
        self.is_gone = False
        """Whether it is not in the registry any more."""
        self.names: dict[str, Served] = {}
        """Its models, by the names that clients ask by."""
        self.renew(endpoint)

    def renew(self, endpoint: Endpoint) -> None:
        """Know it as the registry has it now."""
        self.endpoint = endpoint
        self.id = endpoint.id
        self.weight = endpoint.weight
        most = endpoint.max_running
        self.max_running = None if most is None else -(-most // self._shared_by)
        self.names = endpoint.names

    @property
    def has_room(self) -> bool:
        """Whether it takes another request."""
        return self.max_running is None or self.running < self.max_running

    @property
    def is_well(self) -> bool:
        """Whether it is a first choice."""
        return self.condition.is_well

    @property
    def is_available(self) -> bool:
        """Whether requests may be sent there, if there is room."""
        return (
            not (self.endpoint.is_draining or self.is_gone)
            and self.condition.admits()
            and (not self.resting_until_s or self.resting_until_s <= clock.monotonic_s())
        )

    def rest(self, seconds: float) -> None:
        """Leave it alone for so long: it asked for it."""
        until_s = clock.monotonic_s() + min(seconds, MAX_REST_S)
        self.resting_until_s = max(self.resting_until_s, until_s)
