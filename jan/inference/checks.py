"""Looks at instances on a schedule, and makes of a registry what this process believes.

One process looks at each instance for all (`Watch`); the others take what it wrote down. A process
looks for itself while nobody can be heard, and at what it finds unwell though the leader does not.
One instance's look waits for no other's.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Never

import anyio
import msgspec
import structlog

from jan import clock
from jan.inference import standing, trouble
from jan.inference.client import Client
from jan.inference.condition import Condition
from jan.inference.look import UNUSABLE, Busy, Unwell, is_near, look, socket_of
from jan.inference.registry import USED, Endpoint, Registry, Served, State
from jan.inference.watch import Finding, Fleet, Instance, Watch

SOON_S = 0.25
MAX_SOON_S = 1.0
"""Between two looks at one that is not well. At one on this machine always the first, which costs
nothing: a loaded model is noticed at once."""
MIN_GAP_S = 0.2
"""Between two looks, however loudly it is doubted."""
JITTER = 0.2
"""Share by which the intervals vary, so that looks do not come all at once."""
MAX_LOOKS = 256
"""At once."""
REWRITE_S = 2.0
"""Before the same is written down again, or another error of one that is away anyway."""


_View = tuple[State, tuple[Served, ...], str | None]

log = structlog.get_logger("jan.inference")


class Checks:
    """Keeps the conditions of a fleet's instances true, while `run` runs."""

    def __init__(  # noqa: PLR0913 - as many as there are times
        self,
        fleet: Fleet,
        watch: Watch,
        *,
        interval_s: float,
        timeout_s: float,
        connect_timeout_s: float,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._watch = watch
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(connect_timeout_s, timeout_s)
        self._spread = spread
        self._registry = Registry()
        self._begun_at = clock.now()
        self._rows: dict[str, Endpoint] = {}
        """As they are written down."""
        self._learned: dict[str, tuple[tuple[Served, ...], tuple[Served, ...]]] = {}
        """What a look of ours listed, and what was written then, until that changes."""
        self._written: dict[str, tuple[_View, float]] = {}
        self._states: dict[str, tuple[Condition, State]] = {}
        self._settled: set[str] = set()
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._work = asyncio.Event()
        self._is_stale = False
        self._room = asyncio.Semaphore(MAX_LOOKS)
        self.changes: defaultdict[str, Counter[State]] = defaultdict(Counter)
        """How often each endpoint became what, in the eyes of this process."""
        self.provider_changes: Counter[tuple[str, State]] = Counter()
        """The same of each provider's endpoints, those too that are no more."""
        watch.on_change = self._take_over
        watch.on_doubt = self._wake

    def apply(self, registry: Registry) -> None:
        """Take what is written down, as the leader sees it."""
        rows = {endpoint.id: endpoint for endpoint in registry.endpoints}
        for endpoint_id, (then, _) in list(self._learned.items()):
            row = rows.get(endpoint_id)
            if row is None or row.served != then:
                del self._learned[endpoint_id]
        for endpoint_id, row in rows.items():
            before = self._rows.get(endpoint_id)
            if before is not None and _address(before) != _address(row):
                self._learned.pop(endpoint_id, None)
                self._wake(endpoint_id)
        self._registry, self._rows = registry, rows
        self._show()

    def doubt(self, endpoint_id: str) -> None:
        """Have an instance looked at: a request has just failed there. Never blocks or raises."""
        instance = self._fleet.instances.get(endpoint_id)
        if instance is None:
            return
        self._review(instance)
        self._wake(endpoint_id)
        if self._watch.is_connected and not self._watch.leads(instance.endpoint):
            self._watch.doubt(endpoint_id)

    def standing(self) -> dict[str, Any]:
        """Tell how the fleet stands."""
        instances = self._fleet.instances.values()
        return standing.described(instances, self.changes, begun_at=self._begun_at)

    async def run(self) -> Never:
        """Look, for ever."""
        watching: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._work.clear()
                if self._is_stale:
                    self._show()
                for endpoint_id in watching.keys() - self._fleet.instances.keys():
                    watching.pop(endpoint_id).cancel()
                    self._forget(endpoint_id)
                for endpoint_id in self._fleet.instances.keys() - watching.keys():
                    watching[endpoint_id] = group.create_task(self._look_after(endpoint_id))
                await self._work.wait()

    def _show(self) -> None:
        """Have the fleet know what is written down, and what we know better."""
        self._is_stale = False
        endpoints = [
            msgspec.structs.replace(row, served=self._learned[row.id][1])
            if row.id in self._learned
            else row
            for row in self._registry.endpoints
        ]
        self._fleet.apply(msgspec.structs.replace(self._registry, endpoints=endpoints))
        self._adopt()
        self._work.set()

    def _adopt(self) -> None:
        if not self._watch.is_connected:
            return
        for instance in list(self._fleet.instances.values()):
            row = self._rows.get(instance.endpoint.id)
            if row is None or self._watch.leads(row):
                continue
            if instance.condition.adopt(row.state, row.since, row.last_error):
                self._review(instance, is_adopted=True)
            if self._is_ours(instance):
                self._wake(row.id)

    def _take_over(self) -> None:
        """Begin or cease to look, now that somebody else leads, or nobody is heard."""
        self._adopt()
        for endpoint_id in self._fleet.instances:
            self._wake(endpoint_id)

    def _wake(self, endpoint_id: str) -> None:
        if endpoint_id in self._fleet.instances:
            self._wakes[endpoint_id].set()

    def _forget(self, endpoint_id: str) -> None:
        for known in (self._wakes, self._states, self._written, self._learned, self.changes):
            known.pop(endpoint_id, None)
        self._settled.discard(endpoint_id)

    def _is_ours(self, instance: Instance) -> bool:
        """Whether this process looks at an instance."""
        if not self._watch.is_connected or self._watch.leads(instance.endpoint):
            return True
        row, state = self._rows.get(instance.endpoint.id), instance.condition.state
        if row is None or state == "unknown":
            return False
        # The leader sees no trouble, and so it will not say either when ours is over.
        return row.state in USED and state not in {"healthy", row.state}

    async def _look_after(self, endpoint_id: str) -> None:
        wake = self._wakes[endpoint_id]
        soon_s = SOON_S
        client: Client | None = None
        url = ""
        while (instance := self._fleet.instances.get(endpoint_id)) is not None:
            wake.clear()
            if not self._is_ours(instance):
                await wake.wait()
                continue
            endpoint = instance.endpoint
            began_s = clock.monotonic_s()
            if url != endpoint.url:
                client, url = self._client(endpoint.url), endpoint.url
            async with self._room:
                await self._look(endpoint, client)
            if instance.condition.is_well or endpoint_id in self._settled:
                soon_s = SOON_S
                wait_s = self._interval_s
            else:
                wait_s = soon_s
                soon_s = soon_s if is_near(endpoint.url) else min(soon_s * 1.5, MAX_SOON_S)
            with anyio.move_on_after(wait_s * (1 + JITTER * (2 * self._spread() - 1))):
                await wake.wait()
            await anyio.sleep(max(0.0, began_s + MIN_GAP_S - clock.monotonic_s()))

    def _client(self, url: str) -> Client | None:
        try:
            return Client(url, connect_timeout_s=self._connect_timeout_s)
        except ValueError:
            return None

    async def _ask(self, endpoint: Endpoint, client: Client | None) -> tuple[Served, ...]:
        if client is None:
            raise Unwell(UNUSABLE, is_gone=True, is_settled=True)
        try:
            return await look(client, endpoint, timeout_s=self._timeout_s)
        finally:
            client.close()  # the next look is to find out whether new connections are taken

    async def _look(self, endpoint: Endpoint, client: Client | None) -> None:
        """Look once, and make known what was seen, unless it is of no interest any more."""
        began_s = clock.monotonic_s()
        trouble_seen: Unwell | None = None
        listed: tuple[Served, ...] | None = None
        try:
            listed = await self._ask(endpoint, client)
        except Unwell as error:
            trouble_seen = error
        except Busy:
            pass
        latency_ms = (clock.monotonic_s() - began_s) * 1000
        instance = self._fleet.instances.get(endpoint.id)
        if instance is None or _address(instance.endpoint) != _address(endpoint):
            return
        self._settled.discard(endpoint.id)
        if trouble_seen is not None:
            if trouble_seen.is_settled:
                self._settled.add(endpoint.id)
            # The supervisor knows better than we see why an engine of ours does not answer.
            words = trouble.told(socket_of(endpoint.url)) or trouble_seen.words
            instance.condition.bad(words, is_gone=trouble_seen.is_gone, is_look=True)
        elif listed is not None:
            instance.condition.good(is_look=True)
            self._learn(instance.endpoint, listed)
        self._review(instance)
        if self._watch.leads(endpoint):
            self._write_down(instance, None if trouble_seen else latency_ms)

    def _learn(self, endpoint: Endpoint, listed: tuple[Served, ...]) -> None:
        served = _renewed(endpoint.served, listed)
        row = self._rows.get(endpoint.id)
        if row is None or served == endpoint.served:
            return
        self._learned[endpoint.id] = (row.served, served)
        self._is_stale = True
        self._work.set()

    def _review(self, instance: Instance, *, is_adopted: bool = False) -> None:
        """Notice that an instance's state is another one, tell it once and count it."""
        endpoint, condition = instance.endpoint, instance.condition
        known, before = self._states.get(endpoint.id, (None, "unknown"))
        if known is not condition:  # at another address, where nothing is known of it
            before = "unknown"
        now = condition.state
        if now in {before, "half_open"}:  # half open is over before anybody could read of it
            return
        self._states[endpoint.id] = condition, now
        self.changes[endpoint.id][now] += 1
        self.provider_changes[endpoint.provider, now] += 1
        self._fleet.turned(endpoint.id)
        said = {"endpoint": endpoint.id, "provider": endpoint.provider}
        if is_adopted:  # whoever looked has told it
            log.debug("inference changes", state=now, **said)
        elif now == "healthy":
            served = self._learned.get(endpoint.id, ((), endpoint.served))[1]
            log.info("inference is ready", **said, models=[each.id for each in served])
        elif now == "ejected":
            log.warning("inference is away", **said, error=condition.last_error)
        else:
            log.warning("inference is unwell", **said, error=condition.last_error)

    def _write_down(self, instance: Instance, latency_ms: float | None) -> None:
        endpoint, condition = instance.endpoint, instance.condition
        row = self._rows.get(endpoint.id)
        if row is None:
            return
        # Half open is one process's way to find out, over before others read of it.
        state = "ejected" if condition.state == "half_open" else condition.state
        served = self._learned.get(endpoint.id, ((), row.served))[1]
        last_error = condition.last_error or row.last_error
        view = (state, served, last_error)
        known = (row.state, row.served, row.last_error)
        now_s = clock.monotonic_s()
        written, written_s = self._written.get(endpoint.id, (known, -REWRITE_S))
        is_recent = now_s - written_s < REWRITE_S
        if is_recent:  # it may not have come back to us yet
            known = written
        is_other_error = state != "healthy" and last_error != known[2] and not is_recent
        is_news = state != "unknown" and (view[:2] != known[:2] or is_other_error)
        if is_news:
            self._written[endpoint.id] = (view, now_s)
        self._watch.found(
            Finding(
                endpoint=endpoint,
                state=state,
                since=row.since if state == row.state else condition.since,
                last_error=last_error,
                served=served,
                checked_at=clock.now(),
                latency_ms=latency_ms,
                is_news=is_news,
            )
        )


def _address(endpoint: Endpoint) -> tuple[object, ...]:
    """What a look depends on."""
    return endpoint.url, endpoint.api_key, endpoint.only_models


def _renewed(known: tuple[Served, ...], listed: tuple[Served, ...]) -> tuple[Served, ...]:
    """Take what is listed, unless it is what is known: in another order, or said to be younger.

    vLLM says at each look that its models were made just now. What it does not say at all is known
    from elsewhere.
    """
    before = {served.id: served for served in known}
    renewed = tuple(
        msgspec.structs.replace(
            each,
            created=before[each.id].created or each.created,
            capabilities=before[each.id].capabilities
            if each.capabilities is None
            else each.capabilities,
        )
        if each.id in before
        else each
        for each in listed
    )
    return known if set(renewed) == set(known) else renewed
