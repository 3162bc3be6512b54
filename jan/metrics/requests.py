"""Requests that have ended, counted.

What a client or a model server can make up is in no label: methods are HTTP's, routes ours, codes
those of `jan.errors`, and models and their servers as the registry names them.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric as Family

from jan.errors import JanError, RateLimited
from jan.metrics import names
from jan.metrics.families import Labels, family, histogram
from jan.metrics.names import Metric
from jan.metrics.tallies import Tally
from jan.telemetry import GAP_BOUNDS_S, Exchange

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
NOWHERE = "none"
"""The route of what leads nowhere."""
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/conv/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/responses/compact": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
"""OpenTelemetry's names for what is asked for by paths of ours. It has none for the others."""


class Requests:
    """All requests that this process has answered."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str | None, int, str | None], Tally] = {}
        """By method, route, status and code."""

    def count(self, exchange: Exchange, route: str | None) -> None:
        """Count one that has ended. `route` is the template of its path, if it led anywhere."""
        key = (exchange.method, route, exchange.status, exchange.error_code)
        tally = self._ended.get(key)
        if tally is None:
            method = exchange.method if exchange.method in METHODS else OTHER
            key = (method, route, exchange.status, _known(exchange.error_code))
            tally = self._ended.setdefault(key, Tally(names.DURATION.bounds))
        tally.add(exchange.duration_ms / 1000)

    def families(self) -> Iterator[Family]:
        """Tell them."""
        requests: Counter[Labels] = Counter()
        errors: Counter[Labels] = Counter()
        limited: Counter[Labels] = Counter()
        durations: dict[Labels, Tally] = {}
        for (method, route, status, code), tally in self._ended.items():
            place, count = route or NOWHERE, sum(tally.counts)
            requests[method, place, str(status)] += count
            if code is not None:
                errors[place, code] += count
            if code in _codes(RateLimited):
                limited[code,] += count
            _into(durations, names.DURATION, (method, place), tally)
        yield family(names.REQUESTS, requests)
        yield family(names.ERRORS, errors)
        yield family(names.RATE_LIMITED, limited)
        yield histogram(names.DURATION, durations)


class Generations:
    """All that model servers were asked for by this process."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str | None, str | None, str | None], _Ended] = {}
        """By path, provider, model and code."""

    def count(self, exchange: Exchange) -> None:
        """Count one that has ended, if it was sent anywhere."""
        if exchange.endpoint_id is None:
            return
        key = (exchange.path, exchange.provider, exchange.model, exchange.error_code)
        ended = self._ended.get(key)
        if ended is None:
            path = exchange.path if exchange.path in OPERATIONS else OTHER
            key = (path, exchange.provider, exchange.model, _known(exchange.error_code))
            ended = self._ended.setdefault(key, _Ended())
        ended.add(exchange)

    def families(self) -> Iterator[Family]:
        """Tell them."""
        cached: Counter[Labels] = Counter()
        of_models: dict[Metric, dict[Labels, Tally]] = {names.WAITED: {}, names.TOKEN_GAP: {}}
        generated: dict[Metric, dict[Labels, Tally]] = {
            names.GENERATED_IN: {},
            names.FIRST_TOKEN: {},
            names.EACH_TOKEN: {},
            names.TOKENS_USED: {},
        }
        for (path, provider, model, code), ended in self._ended.items():
            asked = (OPERATIONS.get(path, OTHER), provider or "", model or "")
            cached[model or "",] += ended.cached
            _into(of_models[names.WAITED], names.WAITED, (model or "",), ended.waited)
            _into(of_models[names.TOKEN_GAP], names.TOKEN_GAP, (model or "",), ended.gaps)
            for metric, labels, tally in (
                (names.GENERATED_IN, (*asked, code or ""), ended.duration),
                (names.FIRST_TOKEN, asked, ended.first),
                (names.EACH_TOKEN, asked, ended.each),
                (names.TOKENS_USED, (*asked, "input"), ended.prompt),
                (names.TOKENS_USED, (*asked, "output"), ended.completion),
            ):
                _into(generated[metric], metric, labels, tally)
        yield family(names.CACHED, cached)
        for metric, tallies in (of_models | generated).items():
            yield histogram(metric, tallies)


class _Ended:
    """Those of one kind."""

    __slots__ = ("cached", "completion", "duration", "each", "first", "gaps", "prompt", "waited")

    def __init__(self) -> None:
        self.duration = Tally(names.DURATION_S)
        self.first = Tally(names.FIRST_TOKEN_S)
        self.each = Tally(names.EACH_TOKEN_S)
        self.prompt = Tally(names.TOKENS)
        self.completion = Tally(names.TOKENS)
        self.waited = Tally(names.SHORT_S)
        self.gaps = Tally(GAP_BOUNDS_S)
        self.cached = 0

    def add(self, exchange: Exchange) -> None:
        self.duration.add(exchange.duration_ms / 1000)
        self.waited.add((exchange.queue_ms or 0.0) / 1000)
        self.prompt.add(exchange.prompt_tokens)
        self.completion.add(exchange.completion_tokens)
        self.cached += exchange.cached_tokens
        first_ms = exchange.time_to_first_token_ms
        if first_ms is None:
            return
        self.first.add(first_ms / 1000)
        if exchange.gaps is not None:
            lasted_s = exchange.last_piece_s - exchange.started_s - first_ms / 1000
            self.gaps.add_all(exchange.gaps, lasted_s)
            if exchange.completion_tokens > 1:
                self.each.add(lasted_s / (exchange.completion_tokens - 1))


def _into(tallies: dict[Labels, Tally], metric: Metric, labels: Labels, tally: Tally) -> None:
    if any(tally.counts):
        whole = tallies.setdefault(labels, Tally(metric.bounds))
        whole += tally


def _known(code: str | None) -> str | None:
    return code if code is None or code in _codes(JanError) else OTHER


def _codes(kind: type[JanError]) -> set[str]:
    """Those of a kind of error, and of all kinds of it that there are by now."""
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))
