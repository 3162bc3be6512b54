"""Which models can be asked for, and by whom: kept in memory, from the registry of the fleet."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from jan.caller import Caller
from jan.errors import ModelLoading, ModelNotFound
from jan.inference.instance import Instance
from jan.inference.registry import USED, Capability, Described, Registry, Served, Sleeping

RETRY_AFTER_S = 5
"""What a client is told to wait while a model loads: short beside the load, long beside a look."""

NOTHING_SAID = Described()


class Model(msgspec.Struct, frozen=True):
    """A model, as OpenAI describes one.

    vLLM says more, such as the folder of the weights, which is not a caller's business.
    """

    id: str
    created: int = 0
    object: str = "model"
    owned_by: str = "jan"
    max_model_len: int | msgspec.UnsetType | None = msgspec.UNSET
    """vLLM's: the longest context in tokens. Coding agents read it."""
    context_length: int | msgspec.UnsetType = msgspec.UNSET
    """The same, as other servers call it."""
    capabilities: Sequence[Capability] | msgspec.UnsetType = msgspec.UNSET
    """What it can do, where that is known."""


class Catalog:
    """What can be asked for."""

    def __init__(self, can_answer: Callable[[str, Caller], bool]) -> None:
        self._can_answer = can_answer
        self._models: dict[str, Model] = {}
        self._aliases: Mapping[str, str] = {}
        self.sleeping: Mapping[str, Sleeping] = {}
        """Models that are loaded again once they are asked for, or are being loaded by now."""
        self._is_known = False
        self.is_ready = False
        """Whether anything can be asked for."""

    @property
    def models(self) -> Sequence[Model]:
        """All models. Those last known, while their servers are away."""
        return list(self._models.values())

    def apply(self, registry: Registry, serving: Mapping[str, Sequence[Instance]]) -> None:
        """Know this from now on."""
        self._is_known = True
        found: dict[str, Served] = {each.model: each.served for each in registry.sleeping}
        found |= {name: instances[0].names[name] for name, instances in serving.items()}
        self._models = {
            name: _model(name, served, said)
            for name, served in found.items()
            if (said := registry.models.get(name, NOTHING_SAID)).is_enabled
        }
        self._aliases = registry.aliases
        self.sleeping = {each.model: each for each in registry.sleeping}

    def look(self, instances: Iterable[Instance]) -> None:
        """Take notice of how the instances are."""
        self.is_ready = bool(self.sleeping) or any(
            each.names and each.condition.state in USED for each in instances
        )

    def usable(self, caller: Caller) -> Sequence[Model]:
        """Tell which models a caller may use.

        Raises:
            ModelLoading: this process has not learned yet which there are.
        """
        if not self._is_known:
            raise loading()
        return [model for model in self._models.values() if caller.may_use(model.id)]

    def find(self, asked_as: str, caller: Caller) -> Model:
        """Find a model among those that a caller may use, by its name or by another one of it.

        Raises:
            ModelLoading: nobody can answer, so that nothing is known for certain.
            ModelNotFound: there is no such model.
        """
        name = self._aliases.get(asked_as, asked_as)
        model = self._models.get(name)
        if model is not None and caller.may_use(name, asked_as):
            if not self._can_answer(name, caller):
                raise loading()
            return model
        if not self.is_ready:
            raise loading()
        raise ModelNotFound(f"The model `{asked_as}` does not exist.", param="model")

    def described(self, asked_as: str, caller: Caller) -> Model:
        """Find a model, whether or not anybody can answer for it now. Raises as `find`."""
        name = self._aliases.get(asked_as, asked_as)
        model = self._models.get(name)
        if model is not None and self.is_ready and caller.may_use(name, asked_as):
            return model
        return self.find(asked_as, caller)


def _model(name: str, served: Served, said: Described) -> Model:
    length = said.context_length or served.max_model_len
    able = said.capabilities if said.capabilities is not None else served.capabilities
    return Model(
        name,
        served.created,
        owned_by=said.owned_by or served.owned_by,
        max_model_len=length or msgspec.UNSET,
        context_length=length or msgspec.UNSET,
        capabilities=msgspec.UNSET if able is None else able,
    )


def loading() -> ModelLoading:
    """Say that no model can answer yet."""
    return ModelLoading(
        "The model is not ready: it is loading or being restarted. Try again in a few seconds.",
        retry_after_s=RETRY_AFTER_S,
    )
