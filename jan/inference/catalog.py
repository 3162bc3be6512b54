"""Which models the model server has, asked again and again in the background, kept in memory."""

import asyncio
from collections.abc import Callable, Container, Sequence

import msgspec
import structlog

from jan.errors import ModelNotFound, UpstreamError
from jan.inference.client import Unreachable
from jan.inference.connection import ConnectionLost
from jan.inference.health import Health
from jan.inference.upstream import UNREADABLE, Upstream, loading

POLL_S = 5.0
"""Between two looks while all is well. New models (LoRA adapters) appear within it."""
POLL_WHILE_DOWN_S = 0.25
"""Between two looks while it is not: a loaded model is noticed at once."""
POLL_TIMEOUT_S = 10.0
"""A server too busy to list its models for so long answers nobody."""

log = structlog.get_logger("jan.inference")


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


class _Answer(msgspec.Struct):
    data: list[Model]


class Catalog:
    """What can be asked for. `run` keeps it true."""

    def __init__(
        self, upstream: Upstream, *, why_away: Callable[[], str | None] = lambda: None
    ) -> None:
        """Take what may know better than we see why the model server does not answer."""
        self._upstream = upstream
        self._why_away = why_away
        self._models: dict[str, Model] = {}
        self._look_now = asyncio.Event()
        self.health = Health()

    @property
    def models(self) -> Sequence[Model]:
        """All models. Those last known, while the model server is away."""
        return list(self._models.values())

    def find(self, model_id: str, allowed: Container[str] | None = None) -> Model:
        """Find a model among those that a caller may use. None: all.

        Raises:
            ModelLoading: the model server is away, so nothing is known for certain.
            ModelNotFound: it is there, and has no such model.
        """
        if not self.health.ok:
            raise loading()
        model = self._models.get(model_id)
        if model is None or (allowed is not None and model_id not in allowed):
            raise ModelNotFound(f"The model `{model_id}` does not exist.", param="model")
        return model

    def doubt(self) -> None:
        """Look again at once: a request has just failed in a way that says the server is away."""
        self._look_now.set()

    async def run(self) -> None:
        """Keep looking, for ever."""
        while True:
            await self._look()
            self._look_now.clear()
            try:
                async with asyncio.timeout(POLL_S if self.health.ok else POLL_WHILE_DOWN_S):
                    await self._look_now.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                body = await self._upstream.get(b"/v1/models")
            models = msgspec.json.decode(body, type=_Answer).data
        except TimeoutError:
            self._is_away(f"no answer within {POLL_TIMEOUT_S:g} s")
        except (Unreachable, ConnectionLost, UpstreamError, *UNREADABLE) as error:
            self._is_away(str(error))
        else:
            self._models = {model.id: model for model in models}
            if not models:  # it answers, but no chat would be answered
                self._is_away("the model server has no model")
            elif self.health.good():
                log.info("inference is ready", models=list(self._models))

    def _is_away(self, error: str) -> None:
        """Send new requests away. Those that run are left alone.

        A server too busy to list its models may be busy with their answers, and one that is gone
        is noticed by their own connections.
        """
        error = self._why_away() or error
        if self.health.bad(error):
            log.warning("inference is away", error=error)
