"""Deployments and nodes as they are on the wire, and as rows of the database hold them."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.deployments import Deployment
from jan.inference.registry import State
from jan.runner.options import Options

Wish = Literal["loaded", "idle", "unloaded"]
Status = Literal[
    "pending", "loading", "loaded", "replacing", "unloading", "unloaded", "idle", "failed"
]

OPTIONS = (
    *("engine_args", "gpus", "memory_fraction", "instances", "tensor_parallel"),
    *("max_running", "idle_unload_s", "replace"),
)
"""What is said of a deployment: fields of `Deployment`, and columns of their names."""
RESTARTING = frozenset({"engine_args", "gpus", "memory_fraction", "tensor_parallel"})
"""Of those, what an engine is told when it starts."""
OWN_OPTIONS = frozenset(
    {
        *("host", "port", "uds", "root-path", "api-key", "model", "served-model-name", "config"),
        *("ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "middleware", "worker-cls"),
        *("worker-extension-cls", "scheduler-cls", "logits-processors", "trust-remote-code"),
        *("tool-parser-plugin", "reasoning-parser-plugin", "kv-transfer-config"),
        *("ec-transfer-config", "allowed-local-media-path", "allowed-media-domains"),
    }
)
"""Of vLLM's, those that only who sits at the machine may give: they would open the engine to
others, run programs of one's choice, or read files."""
_SHORT_FLOATS = frozenset({"memory_fraction", "idle_unload_s"})


class DeploymentCreate(msgspec.Struct, kw_only=True):
    """A model that is to run."""

    model: str
    """Its name in the node's model store."""
    node: str | None = None
    """None: the one that is asked, or the only one there is."""
    engine_args: str = ""
    gpus: list[int] | None = None
    memory_fraction: float | None = None
    instances: int = 1
    tensor_parallel: int = 1
    max_running: int | None = None
    idle_unload_s: float | None = None
    replace: Literal["surge", "recreate"] = "surge"


class DeploymentUpdate(msgspec.Struct, kw_only=True):
    """What is to be different. What is left out stays."""

    engine_args: str | UnsetType = UNSET
    gpus: list[int] | UnsetType | None = UNSET
    memory_fraction: float | UnsetType | None = UNSET
    instances: int | UnsetType = UNSET
    tensor_parallel: int | UnsetType = UNSET
    max_running: int | UnsetType | None = UNSET
    idle_unload_s: float | UnsetType | None = UNSET
    replace: Literal["surge", "recreate"] | UnsetType = UNSET


class Instance(msgspec.Struct, kw_only=True):
    """An engine of a deployment."""

    id: str
    """The endpoint's."""
    url: str
    generation: int
    state: State
    since: int
    is_draining: bool
    last_error: str | None


class DeploymentObject(msgspec.Struct, kw_only=True):
    """A deployment, and how far it is."""

    id: str
    object: Literal["deployment"] = "deployment"
    node: str
    model: str
    engine_args: str
    gpus: list[int] | None
    memory_fraction: float | None
    instances: int
    tensor_parallel: int
    max_running: int | None
    idle_unload_s: float | None
    replace: str
    wanted: Wish
    generation: int
    managed_by: str
    status: Status
    message: str
    share: float | None
    created_at: int
    updated_at: int
    node_seen_at: int
    endpoints: list[Instance]


class NodeObject(msgspec.Struct, kw_only=True):
    """A machine with a `jan serve`."""

    id: str
    """Its name: host and JAN_HOME."""
    object: Literal["node"] = "node"
    hardware: dict[str, Any]
    started_at: int
    seen_at: int
    is_alive: bool


def forbidden(engine_args: str) -> str | None:
    """Find an option of `OWN_OPTIONS`, perhaps abbreviated as vLLM's parser allows."""
    names = Options.parse(engine_args).values
    return next((name for name in names if any(own.startswith(name) for own in OWN_OPTIONS)), None)


def options(row: Any) -> dict[str, Any]:
    """Read what is said of a deployment from its row."""
    return {name: _read(name, row[name]) for name in OPTIONS}


def said(row: Any) -> Deployment:
    """Read a row as the settings would say it."""
    return Deployment.model_validate({"name": row["model"], **options(row)})


def columns(deployment: Deployment) -> list[Any]:
    """Write what is said of a deployment, in the order of `OPTIONS`."""
    values = [getattr(deployment, name) for name in OPTIONS]
    return [list(value) if isinstance(value, tuple) else value for value in values]


def _read(name: str, value: Any) -> Any:
    """Read a column. PostgreSQL's `real` has six digits, and what follows them was never said."""
    return float(f"{value:.6g}") if name in _SHORT_FLOATS and value is not None else value
