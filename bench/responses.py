"""What a response costs over the chat completion beneath it, through the same gateway by turns.

Those that are stored cost the database as well: its CPU is not the gateway's, and told apart.
"""

from collections.abc import Callable
from statistics import median

from bench import cost, load, report
from bench.load import Check
from bench.report import Figures
from bench.subjects import Subject
from bench.upstream import CHUNKS

CONNECTIONS = 16
STREAMS_A_ROUND = 320
SECONDS = 2.0
WARM_UP = 500
"""Responses that are stored before anything is measured."""

WHOLE = f"CPU ms per request, {CONNECTIONS} connections"
STREAM = f"CPU ms per {CHUNKS}-chunk stream, {CONNECTIONS} at once"
EVENT = "CPU ms more per streamed event"
DATABASE = "PostgreSQL's CPU ms per request"
LATENCY = "latency p50, 1 connection, ms"
FIRST = "sent to first event p50, 1 connection, ms"
"""Of a response that is `response.created`, when it is stored; of a chat completion its chunk."""

TARGETS = {WHOLE: "0.5 more", STREAM: "0.5 + 0.05 per event more", EVENT: "<= 0.05"}

EVENTS_AROUND = 9
"""Events of a response beside its pieces of text."""

CHAT, PASSING, STORED = "chat", "responses", "stored"

Ask = Callable[..., bytes]


async def measure(jan: Subject, *, rounds: int) -> Figures:
    """Measure each kind of request, whole and streamed."""
    kinds: dict[str, Ask] = {
        CHAT: jan.target.chat,
        PASSING: jan.target.response,
        STORED: jan.target.stored_response,
    }
    seen: dict[str, dict[str, list[float]]] = {}

    def note(measure: str, name: str, value: float) -> None:
        seen.setdefault(measure, {}).setdefault(name, []).append(value)

    stored = jan.target.stored_response()
    await load.press(jan.target, stored, connections=CONNECTIONS, requests=WARM_UP)
    await jan.count_rows()
    for number in range(rounds):
        report.say(f"round {number + 1} of {rounds} ...")
        for name, ask in kinds.items():
            before = cost.cpu(jan.process)
            done = await load.press(
                jan.target, ask(), connections=CONNECTIONS, seconds=SECONDS, check=_is_whole
            )
            spent, count = cost.cpu(jan.process) - before, len(done.all_good().answers)
            note(WHOLE, name, spent.program_s * 1000 / count)
            note(DATABASE, name, spent.database_s * 1000 / count)
            single = await load.press(
                jan.target, ask(), connections=1, seconds=SECONDS, check=_is_whole
            )
            note(LATENCY, name, single.all_good().latency_ms(50))
            before = cost.cpu(jan.process)
            done = await load.press(
                jan.target,
                ask(stream=True),
                connections=CONNECTIONS,
                requests=STREAMS_A_ROUND,
                check=_is_stream_of(CHUNKS),
            )
            spent = cost.cpu(jan.process) - before
            note(STREAM, name, spent.program_s * 1000 / len(done.all_good().answers))
            single = await load.press(
                jan.target,
                ask(stream=True, max_tokens=2),
                connections=1,
                requests=100,
                check=_is_stream_of(2),
            )
            note(FIRST, name, single.all_good().first_ms(50))
    figures: Figures = {
        measure: {name: median(values) for name, values in row.items()}
        for measure, row in seen.items()
    }
    figures[EVENT] = {
        name: (figures[STREAM][name] - figures[STREAM][CHAT]) / (CHUNKS + EVENTS_AROUND)
        for name in (PASSING, STORED)
    }
    return figures


def _is_whole(body: bytes) -> bool:
    return body.startswith(b"{") and body.endswith(b"}") and b"happy families" in body


def _is_stream_of(chunks: int) -> Check:
    def check(body: bytes) -> bool:
        said = body.count(b'" token"') + body.count(b'" end"')
        return said == chunks and (b"[DONE]" in body or b"response.completed" in body)

    return check
