"""What a response costs over the chat completion beneath it, through the same gateway by turns.

Those that are stored cost the database as well: its CPU is not the gateway's, and not counted.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

from bench import cost, load, report
from bench.report import Figures
from bench.subjects import Subject
from bench.upstream import CHUNKS

CONNECTIONS = 16
STREAMS_A_ROUND = 320
SECONDS = 2.0

WHOLE = f"CPU ms per request, {CONNECTIONS} connections"
STREAM = f"CPU ms per {CHUNKS}-chunk stream, {CONNECTIONS} at once"
EVENT = "CPU ms more per streamed event"
LATENCY = "latency p50, 1 connection, ms"
FIRST = "first event p50, 1 connection, ms"

TARGETS = {WHOLE: "0.5 more", STREAM: "0.5 + 0.05 per event more", EVENT: "<= 0.05"}

EVENTS_AROUND = 9
"""Events of a response beside its pieces of text."""

Ask = Callable[..., bytes]


async def measure(jan: Subject, *, rounds: int) -> Figures:
    """Measure all kinds of request, whole and streamed."""
    kinds: dict[str, Ask] = {
        "chat": jan.target.chat,
        "responses": jan.target.response,
        "stored": jan.target.stored_response,
    }
    seen: dict[str, dict[str, list[float]]] = {}

    def note(measure: str, name: str, value: float) -> None:
        seen.setdefault(measure, {}).setdefault(name, []).append(value)

    for _ in range(rounds):
        for name, ask in kinds.items():
            before = cost.cpu(jan.process)
            done = await load.press(
                jan.target, ask(), connections=CONNECTIONS, seconds=SECONDS, check=_is_whole
            )
            spent_s = (cost.cpu(jan.process) - before).program_s
            note(WHOLE, name, spent_s * 1000 / len(done.good))
            single = await load.press(jan.target, ask(), connections=1, seconds=SECONDS)
            note(LATENCY, name, single.latency_ms(50))
            before = cost.cpu(jan.process)
            done = await load.press(
                jan.target,
                ask(stream=True),
                connections=CONNECTIONS,
                requests=STREAMS_A_ROUND,
                check=_is_stream,
            )
            spent_s = (cost.cpu(jan.process) - before).program_s
            note(STREAM, name, spent_s * 1000 / len(done.good))
            single = await load.press(
                jan.target, ask(stream=True, max_tokens=2), connections=1, requests=100
            )
            note(FIRST, name, single.first_ms(50))
    figures: Figures = {
        measure: {name: median(values) for name, values in row.items()}
        for measure, row in seen.items()
    }
    figures[EVENT] = {
        name: (figures[STREAM][name] - figures[STREAM]["chat"]) / (CHUNKS + EVENTS_AROUND)
        for name in ("responses", "stored")
    }
    report.say("done")
    return figures


def _is_whole(body: bytes) -> bool:
    return body.startswith(b"{") and body.endswith(b"}") and b"happy families" in body


def _is_stream(body: bytes) -> bool:
    said: Any = body.count(b'" token"') + body.count(b'" end"')
    return said == CHUNKS and (b"[DONE]" in body or b"response.completed" in body)
