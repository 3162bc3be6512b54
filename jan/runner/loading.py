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

PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?((ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^\]]+\] )?")
"""What processes of vLLM write before their lines."""
REFUSAL = "child.py: error: "
"""How argparse begins, after hundreds of lines of usage."""
CAUSE = re.compile(rf"[\w.]*(Error|Exception): .+|\s+Value error, .+|{re.escape(REFUSAL)}.+")
"""The line of an exception that tells it, what pydantic adds to it, and argparse's refusal."""
ELSEWHERE = "See root cause above"
"""A line with this tells only that another process of the engine has failed."""

TROUBLE = re.compile(r"\b(ERROR|CRITICAL)\b|^\w*(Error|Exception)\b")


def stage(line: str) -> tuple[str, float | None] | None:
    """The step that a line announces, and the share of it that is done where the line says."""
    for pattern, words in STAGES:
        if match := pattern.search(line):
            return words, int(match[1]) / 100 if match.groups() else None
    return None


def cause(line: str, before: str | None = None) -> str | None:
    """What went wrong, if the line tells it better than the one `before`; else that one."""
    text = PREFIX.sub("", line)
    if not CAUSE.match(text) or (before and ELSEWHERE in text):
        return before
    return text.strip()


def is_trouble(line: str) -> bool:
    """Whether an operator wants to see the line while the engine runs."""
    return TROUBLE.search(line) is not None
