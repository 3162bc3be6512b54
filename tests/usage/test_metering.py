"""What a request cost, to the last pico-dollar."""

import pytest

from jan.inference.registry import Described
from jan.telemetry import Exchange
from jan.usage import metering


def cost(said: Described | None, prompt: int, completion: int = 0, cached: int = 0) -> int | None:
    """Tell what a request cost."""
    exchange = Exchange("req_1", "POST", "/v1/chat/completions", model="m")
    exchange.prompt_tokens, exchange.completion_tokens = prompt, completion
    exchange.cached_tokens = cached
    return metering.row(exchange, lambda model: said if model == "m" else None).cost_picodollars


@pytest.mark.parametrize(
    ("said", "tokens", "expected"),
    [
        (None, (10, 10, 0), None),
        (Described(), (10, 10, 0), None),
        (Described(prompt_price=150_000, completion_price=600_000), (1, 1, 0), 750_000),
        (Described(prompt_price=150_000), (10, 10, 0), 1_500_000),
        (Described(prompt_price=100, cached_price=10), (10, 0, 4), 640),
        (Described(prompt_price=100), (10, 0, 4), 1000),
        (Described(prompt_price=100, cached_price=0), (10, 0, 99), 0),
        (Described(completion_price=7), (10, 3, 0), 21),
        (Described(prompt_price=0), (10, 3, 0), 0),
        (Described(prompt_price=2**62), (10, 0, 0), 2**63 - 1),
    ],
)
def test_costs(said: Described | None, tokens: tuple[int, int, int], expected: int | None) -> None:
    prompt, completion, cached = tokens

    assert cost(said, prompt, completion, cached) == expected
