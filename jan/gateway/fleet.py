"""The fleet, as the settings have it, for every process that asks models."""

from jan.inference.ask import Salts
from jan.inference.fleet import Fleet
from jan.inference.images import Images
from jan.keyring import Keyring
from jan.net.guard import Guard
from jan.settings import Settings


def configured(settings: Settings, secrets: Keyring, guard: Guard) -> Fleet:
    """Put it together, without any model server yet: `Watchers` tell it which there are."""
    return Fleet(
        connect_timeout_s=settings.connect_timeout_s,
        head_timeout_s=settings.upstream_timeout_s,
        retries=settings.upstream_retries,
        queue_size=settings.queue_size,
        queue_timeout_s=settings.queue_timeout_s,
        shared_by=settings.workers,
        images=Images(guard, max_bytes=settings.max_body_bytes),
        salts=Salts(secrets.api_key_secret),
    )
