"""What model servers there are and what is said of their models, as one process knows it.

A registry is never changed: whoever learns something new makes another one (`jan.fleet.feed` from
the database), and `Fleet.apply` takes it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from jan import clock
from jan.deployments import Capability

Kind = Literal["runner", "openai", "jan"]
State = Literal["unknown", "healthy", "degraded", "ejected", "half_open"]
"""`unknown`: nobody has looked. `healthy` and `degraded` get requests, the second what the first
can't take. `ejected` gets none; `half_open` gets one at a time, and shows by it what it is."""
USED: frozenset[State] = frozenset({"healthy", "degraded"})
"""What gets requests of anybody."""


class Served(msgspec.Struct, frozen=True):
    """A model as the server that has it tells of it, in `/v1/models`."""

    id: str
    """The server's own name for it."""
    created: int = 0
    owned_by: str = "jan"
    max_model_len: int | None = None
    """vLLM's: the longest context in tokens."""
    capabilities: tuple[Capability, ...] | None = None
    """Jan's, and of engines of ours. None: nobody has said."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: an address at which requests are answered."""

    id: str
    url: str
    """Without `/v1`; `unix:///path` for an engine of this node."""
    provider_id: str = ""
    provider: str = ""
    """The provider's name."""
    kind: Kind = "openai"
    api_key: str | None = None
    prefix: str = ""
    """Put before the names of its models."""
    only_models: tuple[str, ...] | None = None
    """Of its models, by its own names, those that are used. None: all."""
    weight: int = 1
    max_running: int | None = None
    """Most requests that this process sends there at once. None: no bound."""
    is_draining: bool = False
    is_shared: bool = True
    """Whether every replica can reach it; else only the processes of its node."""
    state: State = "unknown"
    """As its leader saw it last."""
    since: datetime = msgspec.field(default_factory=clock.now)
    last_error: str | None = None
    served: tuple[Served, ...] = ()
    """As it listed them last."""

    @property
    def names(self) -> dict[str, Served]:
        """Those of its models that are used, by the names that clients ask by."""
        only = self.only_models
        return {
            self.prefix + each.id: each for each in self.served if only is None or each.id in only
        }


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator says of a model, whoever serves it."""

    owned_by: str | None = None
    capabilities: tuple[Capability, ...] | None = None
    """None: as its servers tell."""
    context_length: int | None = None
    fallbacks: tuple[str, ...] = ()
    """Models that stand in for it, best first."""
    is_enabled: bool = True
    prompt_price: int | None = None
    """Micro-dollars for a million tokens."""
    cached_price: int | None = None
    """None: as the prompt's."""
    completion_price: int | None = None


class Sleeping(msgspec.Struct, frozen=True):
    """A model that was unloaded for want of requests, and is loaded again for one."""

    model: str
    deployment_id: str
    served: Served


class Registry(msgspec.Struct, frozen=True):
    """All of it."""

    endpoints: Sequence[Endpoint] = ()
    """Those that this process can reach, and that are not switched off."""
    models: Mapping[str, Described] = {}
    """By the name that clients ask by."""
    aliases: Mapping[str, str] = {}
    sleeping: Sequence[Sleeping] = ()
