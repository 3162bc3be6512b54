"""What vLLM's log lines tell about how far the start of an engine is."""

import re

STAGES = (
    (re.compile(r"checkpoint shards:\s+(\d+)% Completed"), "Loading weights"),
    (re.compile(r"Resolved architecture"), "Reading the model's configuration"),
    (re.compile(r"Initializing a V1 LLM engine"), "Starting the engine"),
    (re.compile(r"Starting to load model"), "Loading weights"),
    (re.compile(r"Compiling a graph|torch\.compile takes"), "Compiling the model"),
    (re.compile(r"KV cache size"), "Warming up"),
    (re.compile(r"Capturing CUDA graph"), "Capturing CUDA graphs"),
    (re.compile(r"Starting vLLM server"), "Opening the port"),
)
"""Lines of vLLM 0.32. One that changes costs a word in the display, and nothing else."""

TROUBLE = re.compile(r"\b(ERROR|CRITICAL)\b|^\w*(Error|Exception)\b")


def stage(line: str) -> tuple[str, float | None] | None:
    """The step that a line announces, and the share of it that is done where the line says."""
    for pattern, words in STAGES:
        if match := pattern.search(line):
            return words, int(match[1]) / 100 if match.groups() else None
    return None


def is_trouble(line: str) -> bool:
    """Whether an operator wants to see the line while the engine runs."""
    return TROUBLE.search(line) is not None
