"""What counting costs: as much as it takes by itself, beside all that the gateway does."""

import time
from collections.abc import Callable
from statistics import median

from bench import gateway
from bench.report import Figures
from bench.subjects import Subject
from bench.upstream import CHUNKS
from jan.metrics.requests import Generations, Requests
from jan.telemetry import Exchange

CALLS = 20_000
ROUNDS = 15
REQUEST = "CPU us per request, 16 connections"
STREAM = f"CPU us per {CHUNKS}-chunk stream, {gateway.STREAMS_AT_ONCE} at once"
COUNTING, WHOLE = "counting", "gateway"
TARGETS = {REQUEST: "<= 2 % of the gateway's", STREAM: "<= 2 % of the gateway's"}


async def measure(upstream: Subject, jan: Subject, *, rounds: int) -> Figures:
    """Measure a request and a stream, and the calls that are made for them to be counted."""
    found = await gateway._requests([upstream, jan], 16, rounds)
    found |= await gateway._streams([upstream, jan], rounds)
    exchange = Exchange("req_1", "POST", "/v1/chat/completions")
    exchange.endpoint_id, exchange.provider, exchange.model = "ep_1", "mock", upstream.target.model
    exchange.prompt_tokens, exchange.completion_tokens, exchange.queue_ms = 11, CHUNKS, 0.0
    requests, generations = Requests(), Generations()

    def count() -> None:
        requests.count(exchange, exchange.path)
        generations.count(exchange)

    request_us = _cost_us(count)
    piece_us = _cost_us(exchange.note_piece)
    stream_us = CHUNKS * piece_us + _cost_us(count)
    return {
        name: {COUNTING: us, WHOLE: found[name.replace(" us ", " ms ")]["jan"] * 1000}
        for name, us in ((REQUEST, request_us), (STREAM, stream_us))
    }


def _cost_us(work: Callable[[], None]) -> float:
    taken_s: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(CALLS):
            work()
        taken_s.append(time.process_time() - began_s)
    return median(taken_s) / CALLS * 1_000_000
