"""What a page costs: of few conversations and of many, at the front and deep, and so of items.

Two programs with a database each, one that holds little and one that holds much, asked by turns.
"""

from dataclasses import dataclass
from statistics import median

import msgspec

from bench import cost, load, report
from bench.load import Check, Target
from bench.report import Figures
from bench.subjects import Subject

CONVERSATIONS = {"few": 100, "many": 100_000}
ITEMS = {"few": 100, "many": 10_000}

PAGE = 20
ITEMS_AT_ONCE = 20
"""The most that one request may add."""
CONNECTIONS = 16
REQUESTS = 320

OF_CONVERSATIONS = "page of 100 / 100,000 conversations"
OF_ITEMS = "page of 100 / 10,000 items"
FIRST, DEEP, LAST = "first", "deep", "last"
LATENCY = "p50, 1 connection, ms"
CPU = f"CPU ms, PostgreSQL's included, {CONNECTIONS} connections"
APPEND = "adding 20 items to 100 / 10,000"

FLAT = "the same"


@dataclass(frozen=True)
class Lists:
    """One program's lists, and where their ends are."""

    subject: Subject
    conversation_id: str
    """Of the one that has items."""
    old_conversation_id: str
    """The next page after it is the last, the latest first."""
    late_item_id: str
    """The next page after it is the last, the oldest first."""

    def pages(self) -> dict[tuple[str, str], tuple[bytes, Check]]:
        """Tell what is asked for, under its name, and how its answer is known."""
        target = self.subject.target
        listed = f"/v1/conversations?limit={PAGE}&order=desc"
        items = f"/v1/conversations/{self.conversation_id}/items?limit={PAGE}&order=asc"
        return {
            (FIRST, OF_CONVERSATIONS): (target.get(listed), _has(b"conv_")),
            (DEEP, OF_CONVERSATIONS): (
                target.get(f"{listed}&after={self.old_conversation_id}"),
                _has(b"conv_"),
            ),
            (FIRST, OF_ITEMS): (target.get(items), _has(b"msg_")),
            (LAST, OF_ITEMS): (target.get(f"{items}&after={self.late_item_id}"), _has(b"msg_")),
        }


async def measure(subjects: dict[str, Subject], *, rounds: int) -> Figures:
    """Fill both, `few` and `many`, then ask both by turns."""
    lists = {name: await _filled(subject, name) for name, subject in subjects.items()}
    seen: dict[str, dict[str, list[float]]] = {}

    def note(measure: str, name: str, value: float) -> None:
        seen.setdefault(measure, {}).setdefault(name, []).append(value)

    for number in range(rounds):
        report.say(f"round {number + 1} of {rounds} ...")
        pages = {name: of.pages() for name, of in lists.items()}
        for which, what in pages["few"]:
            for name, of in lists.items():
                request, check = pages[name][which, what]
                target, process = of.subject.target, of.subject.process
                single = await load.press(
                    target, request, connections=1, requests=REQUESTS, check=check
                )
                note(f"{which} {what}, {LATENCY}", name, single.all_good().latency_ms(50))
                before = cost.cpu(process)
                done = await load.press(
                    target, request, connections=CONNECTIONS, requests=REQUESTS, check=check
                )
                spent = cost.cpu(process) - before
                each_s = (spent.program_s + spent.database_s) / len(done.all_good().good)
                note(f"{which} {what}, {CPU}", name, each_s * 1000)
        for name, of in lists.items():
            added = await load.press(
                of.subject.target,
                _items(of.subject.target, of.conversation_id),
                connections=1,
                requests=1,  # a short conversation stays short
                check=_has(b"msg_"),
            )
            note(f"{APPEND}, {LATENCY}", name, added.all_good().latency_ms(50))
    return {
        measure: {name: median(values) for name, values in row.items()}
        for measure, row in seen.items()
    }


def targets(figures: Figures) -> dict[str, str]:
    """Say what is expected of every measure."""
    return dict.fromkeys(figures, FLAT)


async def _filled(subject: Subject, name: str) -> Lists:
    report.say(f"{CONVERSATIONS[name]:,} conversations and {ITEMS[name]:,} items in one ...")
    target = subject.target
    made: list[str] = []

    def note(body: bytes) -> bool:
        made.append(_id(body))
        return True

    done = await load.press(
        target,
        target.post("/v1/conversations", {"items": [_message(0)]}),
        connections=CONNECTIONS,
        requests=CONVERSATIONS[name],
        check=note,
    )
    report.say(f"{done.all_good().per_s:,.0f} conversations a second")
    conversation_id = made[-1]
    done = await load.press(
        target,
        _items(target, conversation_id),
        connections=1,
        requests=ITEMS[name] // ITEMS_AT_ONCE,
        check=_has(b"msg_"),
    )
    done.all_good()
    await subject.count_rows()
    return Lists(
        subject,
        conversation_id,
        await _last_but(target, "/v1/conversations?order=asc"),
        await _last_but(target, f"/v1/conversations/{conversation_id}/items?order=desc"),
    )


async def _last_but(target: Target, path: str) -> str:
    """Tell which one a page stands before at a list's end, if its first one is this path's."""
    answer = await load.ask(target, target.get(f"{path}&limit={PAGE + 1}"))
    return msgspec.json.decode(answer.body)["data"][PAGE]["id"]


def _message(number: int) -> dict[str, object]:
    return {"type": "message", "role": "user", "content": f"{load.PROMPT}{number}"}


def _items(target: Target, conversation_id: str) -> bytes:
    path = f"/v1/conversations/{conversation_id}/items"
    return target.post(path, {"items": [_message(n) for n in range(ITEMS_AT_ONCE)]})


def _id(body: bytes) -> str:
    return msgspec.json.decode(body)["id"]


def _has(prefix: bytes) -> Check:
    """Make the check of a page that is full."""

    def check(body: bytes) -> bool:
        return body.count(b'"id":"' + prefix) == PAGE

    return check
