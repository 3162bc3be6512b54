"""Models that run here, as `[[models]]` in `jan.toml` has them: how many of each, and on what."""

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from jan.values import words

Capability = Literal[
    "chat",
    "completions",
    "embeddings",
    "vision",
    "tools",
    "rerank",
    "score",
    "tokenize",
    "transcription",
]
"""What a model can do, by the paths at which it is asked."""

MAX_DEPLOYMENTS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 96:  # noqa: PLR2004 - as the model store has it
        raise ValueError("must be the name of a model in the model store")
    return value


class Deployment(BaseModel):
    """One model that is to run on this machine."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    name: Annotated[str, AfterValidator(_name)]
    """Its name in the model store, by which clients ask for it."""
    instances: int = Field(default=1, ge=1, le=64)
    """How many engines run it, each on GPUs of its own."""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Numbers of the GPUs that it may use. Not said: Jan places it where it fits."""
    memory_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of each of its GPUs' memory that one engine takes. Not said: as much as its weights and
    a useful cache need, or all that is free where nothing else runs there."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """Over how many GPUs one engine spreads the model."""
    engine_args: Annotated[str, AfterValidator(words)] = ""
    """More options for vLLM's server, as on its command line."""
    max_running: int | None = Field(default=None, ge=1)
    """Most requests that one engine gets at once; the others wait in the gateway, in turns between
    projects. Not said: as many as the engine works on at a time."""
    idle_unload_s: float | None = Field(default=None, gt=0)
    """Rest after which it is unloaded; the next request loads it again. Not said: never."""
    replace: Literal["surge", "recreate"] = "surge"
    """How an engine is replaced. `surge`: the new one starts beside the old. `recreate`: the old
    one ends first and requests wait meanwhile, for where there is memory for one only."""


def from_json(value: object) -> object:
    """Read a list of tables that the environment has as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        # Nothing of it is repeated: there may be secrets in it.
        raise ValueError('must be JSON, such as [{"name": "SmolLM2-135M-Instruct"}]') from None


def distinct(value: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
    """Refuse two of one name: an instance more is said by `instances`."""
    names = [deployment.name for deployment in value]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names `{min(doubled)}` twice; `instances` says how many there are")
    return value
