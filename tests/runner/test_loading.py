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


def test_a_cause_is_the_line_that_tells_most() -> None:
    core = "(EngineCore pid=16693) ERROR 11-25 00:04:24 [core.py:1510] "
    lines = [
        "(APIServer pid=1) INFO 11-25 00:02:53 [api.py:347] vLLM server version 0.32.0",
        "(APIServer pid=1) WARNING 11-25 [s.py:255] This can cause `OSError: [Errno 24]`",
        f"{core}EngineCore failed to start.",
        f"{core}    raise ValueError(",
        f"{core}ValueError: Available memory on node 0 is less than requested.",
        "Traceback (most recent call last):",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]

    cause = None
    for line in lines:
        cause = loading.cause(line, cause)

    assert cause == "ValueError: Available memory on node 0 is less than requested."


@pytest.mark.parametrize(
    "line",
    [
        "  Value error, max_model_len (9) is too great.",
        "child.py: error: argument --dtype: invalid choice",
        "torch.OutOfMemoryError: CUDA out of memory.",
    ],
)
def test_causes_have_several_forms(line: str) -> None:
    assert loading.cause(line) == line.strip()


@pytest.mark.parametrize(
    "line", ["INFO:     Started server process [8109]", "    raise RuntimeError('x')"]
)
def test_most_lines_are_no_cause(line: str) -> None:
    assert loading.cause(line) is None
    assert loading.cause(line, "ValueError: x") == "ValueError: x"


def test_only_trouble_is_passed_on_later() -> None:
    assert loading.is_trouble("(EngineCore pid=1) ERROR 11-24 01:21:33 [core.py:1] died")
    assert loading.is_trouble("RuntimeError: out of memory")
    assert not loading.is_trouble("(APIServer pid=1) INFO 11-24 [loggers.py:1] Avg prompt: 0.0")
