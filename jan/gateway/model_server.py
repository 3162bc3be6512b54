"""The way to the model server, as the settings have it, for every process that asks it."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from jan.inference import trouble
from jan.inference.catalog import Catalog
from jan.inference.chat import Chat
from jan.inference.client import Client
from jan.inference.images import Images
from jan.inference.upstream import Upstream
from jan.net.guard import Guard
from jan.settings import Settings


@dataclass(frozen=True, slots=True)
class ModelServer:
    """It need not be there."""

    client: Client
    upstream: Upstream
    catalog: Catalog
    """What it has, as long as that runs."""

    @classmethod
    def configured(cls, settings: Settings, guard: Guard) -> Self:
        """Put together what talks to it, and fetches images for it. Nothing is connected yet."""
        client = Client(settings.upstream_url, connect_timeout_s=settings.connect_timeout_s)
        key = settings.inference_model_api_key
        upstream = Upstream(
            client,
            api_key=key.get_secret_value() if key else None,
            images=Images(guard, max_bytes=settings.max_body_bytes),
        )
        catalog = Catalog(upstream, why_away=partial(trouble.told, settings.own_socket))
        return cls(client, upstream, catalog)

    @property
    def chat(self) -> Chat:
        """Its chat completions."""
        return Chat(self.upstream, self.catalog)

    def close(self) -> None:
        """Drop the connections that rest."""
        self.client.close()
