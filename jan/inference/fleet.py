"""All instances behind one door: a request goes to the best of them, and to another if that fails.

Until the first byte of an answer has gone to the client, a request that failed is tried elsewhere,
within a budget; after that never.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from jan import clock
from jan.caller import Caller
from jan.errors import (
    JanError,
    ModelLoading,
    QueueFull,
    TooManyWaiting,
    UpstreamError,
    UpstreamTimedOut,
)
from jan.inference.affinity import Affinity, keys_of
from jan.inference.ask import JSON, Ask, Salts, has_side_effect
from jan.inference.budget import RetryBudget
from jan.inference.catalog import Catalog, loading
from jan.inference.choice import choose
from jan.inference.client import Unreachable
from jan.inference.connection import Connection, ConnectionLost
from jan.inference.images import Images
from jan.inference.instance import MAX_REST_S, Instance
from jan.inference.registry import Described, Endpoint, Registry
from jan.inference.upstream import forwarded, refusal, retry_after_s
from jan.inference.waiting import Waiting
from jan.telemetry import Exchange

BUSY = frozenset({429, 503})
BROKEN = frozenset({502, 503, 504})
"""Statuses that say something of the instance, not of the request."""
ELSEWHERE = BUSY | BROKEN
WAKE_LATER_S = 0.01
"""After a rest: timers may be a little early."""
CUT_OFF = "The model server stopped before its answer was complete."
NOBODY = "nobody"
"""Whose requests are in no project."""


class Fleet:
    """What requests are sent to. `apply` tells what there is."""

    def __init__(  # noqa: PLR0913 - as many as there are limits
        self,
        *,
        connect_timeout_s: float = 5.0,
        head_timeout_s: float = 600.0,
        retries: int = 2,
        queue_size: int = 1000,
        queue_timeout_s: float = 60.0,
        shared_by: int = 1,
        images: Images | None = None,
        salts: Salts | None = None,
    ) -> None:
        """Without `images`, servers fetch what requests name; without `salts`, tenants share."""
        self._connect_timeout_s = connect_timeout_s
        self._head_timeout_s = head_timeout_s
        self._retries = retries
        self._queue_size = queue_size
        self._queue_timeout_s = queue_timeout_s
        self._shared_by = shared_by
        self._images = images
        self._salts = salts
        self._instances: dict[str, Instance] = {}
        self._by_model: dict[str, list[Instance]] = {}
        self._waiting: dict[str, Waiting[Instance]] = {}
        self._affinity = Affinity()
        self._budget = RetryBudget()
        self._registry = Registry()
        self.catalog = Catalog(self._can_answer)
        """Of what can be asked for."""
        self.doubted: Callable[[str], None] = lambda _: None
        """Told which endpoint should be looked at. Must neither block nor raise."""
        self.wanted: Callable[[str], None] = lambda _: None
        """Told which sleeping deployment is asked for. The same."""

    @property
    def instances(self) -> Mapping[str, Instance]:
        """By the endpoint's id."""
        return self._instances

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many requests wait for their turn, by model: those that were ever busy."""
        return {name: line.count for name, line in self._waiting.items()}

    def described(self, model: str) -> Described | None:
        """Tell what the operator says of a model, if anything."""
        return self._registry.models.get(model)

    def apply(self, registry: Registry) -> None:
        """Know this from now on. What runs goes on, at endpoints that are no more too."""
        self._registry = registry
        before, self._instances = self._instances, {}
        for endpoint in registry.endpoints:
            known = before.get(endpoint.id)
            if known is not None and _identity(known.endpoint) == _identity(endpoint):
                known.renew(endpoint)
                self._instances[endpoint.id] = before.pop(endpoint.id)
            else:
                self._instances[endpoint.id] = Instance(
                    endpoint,
                    connect_timeout_s=self._connect_timeout_s,
                    shared_by=self._shared_by,
                )
        for gone in before.values():
            gone.is_gone = True
            gone.upstream.close()
        self._by_model = {}
        for instance in self._instances.values():
            for name in instance.names:
                self._by_model.setdefault(name, []).append(instance)
        self.catalog.apply(registry, self._by_model)
        self._notice()

    def turned(self, endpoint_id: str) -> None:
        """Take notice that an instance's condition has changed."""
        instance = self._instances.get(endpoint_id)
        if instance is None:
            return
        if instance.condition.state == "ejected":
            instance.upstream.give_up()
        self._notice()

    def doubt(self, exchange: Exchange) -> None:
        """Have the instance looked at that answered: it said in the middle that it failed."""
        if exchange.endpoint_id is not None:
            self.doubted(exchange.endpoint_id)

    def close(self) -> None:
        """Drop the connections that rest."""
        for instance in self._instances.values():
            instance.upstream.close()

    @asynccontextmanager
    async def post(self, ask: Ask) -> AsyncGenerator[Connection]:
        """Send a request; inside the block its answer can be read. Leaving early aborts it.

        An answer that is no success is one all the same: what it says is the caller's to read. The
        images that a JSON body names by URL are put into it first.

        Raises:
            InvalidRequest: as `Images.inlined`.
            TooManyWaiting, QueueFull, QueueTimedOut: the model is busy.
            ModelLoading: no connection to any instance.
            UpstreamError: it closed the connection before the end of its answer.
            UpstreamTimedOut: it did not begin to answer.
        """
        if self._images is not None and ask.content_type == JSON:
            ask.body = await self._images.inlined(ask.body)
        instance, answer = await self._begin(ask)
        try:
            yield answer
        except ConnectionLost:
            self._failed(instance, "It stopped before its answer was complete.")
            raise UpstreamError(CUT_OFF) from None
        except UpstreamError:  # what came is no answer
            self.doubted(instance.id)
            raise
        finally:
            instance.upstream.end(answer)
            self._release(instance)

    async def _begin(self, ask: Ask) -> tuple[Instance, Connection]:
        """Find an instance that answers, and wait for the head of the answer."""
        self._budget.note()
        headers = forwarded(ask.headers, ask.exchange.request_id, ask.content_type)
        tried: list[str] = []
        while True:
            instance, name = await self._turn(ask, tried)
            tried.append(instance.id)
            was_sent = True
            try:
                answer = await self._head(ask, instance, name, headers, tried)
                is_refused = self._is_refusal(instance, answer)
                if not (is_refused and self._may_be_sent_again(ask, instance, tried)):
                    return instance, answer
                failure = await self._read_refusal(ask, instance, answer)
            except Unreachable as reason:
                was_sent = False
                self._failed(instance, str(reason), is_gone=True)
                failure = loading()
            except ConnectionLost as reason:
                self._failed(instance, str(reason))
                failure = UpstreamError(CUT_OFF)
            except TimeoutError:
                words = f"did not begin to answer within {self._head_timeout_s:g} s"
                self._failed(instance, f"It {words}.")
                failure = UpstreamTimedOut(f"The model server {words}.")
            except BaseException:
                instance.condition.settle()
                self._release(instance)
                raise
            self._release(instance)
            is_over = was_sent and has_side_effect(instance.endpoint, ask.body)
            if is_over or not self._has_another(ask, tried) or not self._budget.spend():
                raise failure

    async def _head(
        self,
        ask: Ask,
        instance: Instance,
        name: str,
        headers: Sequence[tuple[bytes, bytes]],
        tried: Sequence[str],
    ) -> Connection:
        endpoint = instance.endpoint
        salts = self._salts
        salt = salts.of(ask.caller) if salts is not None and endpoint.kind == "runner" else None
        body = ask.body_for(instance.names[name].id, salt)
        async with asyncio.timeout(self._head_timeout_s):
            answer = await instance.upstream.send(
                ask.target_for(endpoint),
                headers,
                body,
                lambda: self._may_be_sent_again(ask, instance, tried) and not self._budget.is_spent,
            )
        is_well = instance.condition.is_well or answer.status in BROKEN
        if not is_well and instance.condition.good():
            self.turned(instance.id)
            self.doubted(instance.id)
        return answer

    def _is_refusal(self, instance: Instance, answer: Connection) -> bool:
        """Whether an instance says that it can't now. It is left alone for as long as it asks."""
        if answer.status not in ELSEWHERE:
            return False
        rest_s = retry_after_s(answer)
        if rest_s is not None and answer.status in BUSY:
            instance.rest(rest_s)
            instance.condition.settle()
            # Nothing else tells those who wait that it may be asked again.
            until_s = min(rest_s, MAX_REST_S) + WAKE_LATER_S
            asyncio.get_running_loop().call_later(until_s, self._wake, instance)
        elif answer.status in BROKEN:
            self._failed(instance, f"It answered with status {answer.status}.")
        return True

    async def _read_refusal(self, ask: Ask, instance: Instance, answer: Connection) -> JanError:
        """Read what an instance says that can't now, for the case that no other one can."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                body = await answer.read_all()
        except (TimeoutError, ConnectionLost):
            body = b""
        finally:
            instance.upstream.end(answer)
        return refusal(answer, body, ask.path)

    def _may_be_sent_again(self, ask: Ask, instance: Instance, tried: Sequence[str]) -> bool:
        has_effect = has_side_effect(instance.endpoint, ask.body)
        return not has_effect and self._has_another(ask, tried)

    def _has_another(self, ask: Ask, tried: Sequence[str]) -> bool:
        if len(tried) > self._retries:
            return False
        names = self._candidates(ask.model, ask.caller)
        return any(self._available(name, tried) for name in names)

    async def _turn(self, ask: Ask, tried: Sequence[str]) -> tuple[Instance, str]:
        """Reserve an instance, of the model that is asked for or of one that stands in for it."""
        refused: JanError | None = None
        for name in self._candidates(ask.model, ask.caller):
            available = self._available(name, tried)
            if not available and not self._is_coming(name):
                continue
            try:
                instance = await self._turn_at(name, available, ask, tried)
            except (QueueFull, TooManyWaiting) as error:
                refused = refused or error
                continue
            exchange = ask.exchange
            exchange.model = name
            exchange.endpoint_id = instance.id
            exchange.provider = instance.endpoint.provider
            return instance, name
        raise refused or self._nobody(ask)

    async def _turn_at(
        self, name: str, available: Sequence[Instance], ask: Ask, tried: Sequence[str]
    ) -> Instance:
        instances = self._by_model.get(name, ())
        exchange = ask.exchange
        waited_ms = exchange.queue_ms or 0.0
        if available and len(instances) == 1 and instances[0].max_running is None:
            self._reserve(instances[0])
            exchange.queue_ms = waited_ms
            return instances[0]
        caller = ask.caller
        project = caller.project_id or NOBODY
        keys = keys_of(ask.body, project, ask.session) if len(instances) > 1 else ()

        def take() -> Instance | None:
            available = self._available(name, tried)
            chosen = choose(available, self._affinity.find(keys) if keys else ())
            if chosen is not None:
                self._reserve(chosen)
            return chosen

        started_s = clock.monotonic_s()
        instance = await self._line(name).turn(project, caller.queue_weight, take)
        exchange.queue_ms = waited_ms + (clock.monotonic_s() - started_s) * 1000
        if keys:
            self._affinity.remember(keys, instance.id)
        return instance

    def _line(self, name: str) -> Waiting[Instance]:
        line = self._waiting.get(name)
        if line is None:
            line = Waiting(self._queue_size, self._queue_timeout_s, self._release)
            self._waiting[name] = line
        return line

    def _candidates(self, model: str, caller: Caller) -> Sequence[str]:
        """Name a model, and after it those that may stand in for it, the best first."""
        described = self._registry.models.get(model)
        if described is None or not described.fallbacks:
            return (model,)
        return (model, *filter(caller.may_use, described.fallbacks))

    def _available(self, name: str, tried: Sequence[str] = ()) -> list[Instance]:
        return [
            each
            for each in self._by_model.get(name, ())
            if each.is_available and each.id not in tried
        ]

    def _is_coming(self, name: str) -> bool:
        """Whether it is worth waiting though there is nobody: one is replaced, or wakes up."""
        sleeping = self.catalog.sleeping.get(name)
        if sleeping is not None:
            self.wanted(sleeping.deployment_id)
            return True
        return any(each.endpoint.is_draining for each in self._by_model.get(name, ()))

    def _can_answer(self, name: str, caller: Caller) -> bool:
        """Whether somebody would take a request, now or soon."""
        names = self._candidates(name, caller)
        return any(self._available(each) or self._is_coming(each) for each in names)

    def _nobody(self, ask: Ask) -> JanError:
        """Say that nobody can answer, and when to come back if somebody said so."""
        now_s = clock.monotonic_s()
        rests = [
            each.resting_until_s - now_s
            for each in self._by_model.get(ask.model, ())
            if each.resting_until_s > now_s and each.condition.admits()
        ]
        if not rests:
            return loading()
        return ModelLoading(
            "The model is busy and asks to be left alone for now.",
            retry_after_s=max(1, round(min(rests) + 0.5)),
        )

    def _reserve(self, instance: Instance) -> None:
        instance.running += 1
        instance.condition.begin()

    def _release(self, instance: Instance) -> None:
        instance.running -= 1
        self._wake(instance)

    def _wake(self, instance: Instance) -> None:
        for name in instance.names:
            line = self._waiting.get(name)
            if line is not None and line.count:
                line.wake()

    def _failed(self, instance: Instance, error: str, *, is_gone: bool = False) -> None:
        if instance.condition.bad(error, is_gone=is_gone):
            self.turned(instance.id)
        if not instance.is_gone:
            self.doubted(instance.id)

    def _notice(self) -> None:
        self.catalog.look(self._instances.values())
        for line in self._waiting.values():
            if line.count:
                line.wake()


def _identity(endpoint: Endpoint) -> tuple[object, ...]:
    """What makes an endpoint another one, of which nothing is known."""
    return endpoint.url, endpoint.api_key
