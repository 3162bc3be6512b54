"""Lines as vLLM 0.32 wrote them."""

import pytest

from jan.runner import loading

STARTING = (
    "(EngineCore pid=10499) INFO 11-24 01:21:33 [core.py:133] Initializing a V1 LLM engine (v0"
)
SHARDS = "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:00,  1.22s/it]"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (STARTING, ("Starting the engine", None)),
        (SHARDS, ("Loading weights", 0.5)),
        ("(Worker pid=1) INFO 11-24 [kv.py:1] CPU KV cache size: 46,592", ("Warming up", None)),
        ("INFO:     Started server process [8109]", None),
    ],
)
def test_a_line_tells_the_step(line: str, expected: tuple[str, float | None] | None) -> None:
    assert loading.stage(line) == expected


def test_only_trouble_is_passed_on_later() -> None:
    assert loading.is_trouble("(EngineCore pid=1) ERROR 11-24 01:21:33 [core.py:1] died")
    assert loading.is_trouble("RuntimeError: out of memory")
    assert not loading.is_trouble("(APIServer pid=1) INFO 11-24 [loggers.py:1] Avg prompt: 0.0")
