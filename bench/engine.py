"""What the gateway costs in front of real vLLM: tokens a second and time to first token.

The same prompt, number of tokens and temperature each time, through the gateway and directly in
turns, each going first in every other round. The ratio is the median of the rounds' own, for a
shared machine drifts. A first run of each fills vLLM's prefix cache.
"""

from collections.abc import Sequence
from statistics import median

from bench import load, report
from bench.load import Target
from bench.report import Figures

STREAMS = (1, 8, 32)
REQUESTS_A_ROUND = 8
"""At least: one time to first token says little."""

TARGETS = {
    f"{measure}, {streams} streams": ratio
    for streams in STREAMS
    for measure, ratio in {
        "tokens/s": "ratio >= 0.98",
        "first token p50, ms": "ratio <= 1.02",
    }.items()
}


async def measure(direct: Target, gateway: Target, *, rounds: int, tokens: int) -> Figures:
    """Measure each number of streams, for as many rounds."""
    figures: Figures = {}
    for streams in STREAMS:
        report.say(f"{streams} streams, {rounds} rounds ...")
        requests = max(streams, REQUESTS_A_ROUND)
        seen: dict[str, list[tuple[float, float]]] = {"direct": [], "jan": []}
        for number in range(-1, rounds):
            order: Sequence[Target] = (direct, gateway) if number % 2 else (gateway, direct)
            for target in order:
                done = await load.press(
                    target, _request(target, tokens), connections=streams, requests=requests
                )
                _check(done, tokens)
                if number >= 0:
                    rate = requests * tokens / done.elapsed_s
                    seen[target.name].append((rate, done.first_ms(50)))
        for index, measure in enumerate(("tokens/s", "first token p50, ms")):
            row = {name: median(r[index] for r in rows) for name, rows in seen.items()}
            pairs = zip(seen["jan"], seen["direct"], strict=True)
            row["jan / direct"] = median(ours[index] / theirs[index] for ours, theirs in pairs)
            figures[f"{measure}, {streams} streams"] = row
    return figures


def _request(target: Target, tokens: int) -> bytes:
    return target.chat(
        stream=True,
        max_tokens=tokens,
        ignore_eos=True,
        temperature=0,
        stream_options={"include_usage": True},
    )


def _check(done: load.Load, tokens: int) -> None:
    """Refuse to compare runs that did not do the same work."""
    expected = b'"completion_tokens":%d' % tokens
    if done.failed or any(expected not in answer.body for answer in done.answers):
        bad = next(a for a in done.answers if not a.is_good or expected not in a.body)
        raise RuntimeError(f"A stream was not {tokens} tokens long: {bad.body[-500:]!r}")
