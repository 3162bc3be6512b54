"""A Jan that runs here, as values of the chart: the same settings, models, servers and secrets.

Values say where a secret is and never what it is. What has no place in Kubernetes is told.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jan import values
from jan.deployments import Deployment
from jan.helm import choices
from jan.keyring import Keyring
from jan.providers import Provider
from jan.runner import store
from jan.runner.hardware import Hardware
from jan.settings import Settings

GIB = 1024**3
SHARE = 0.9
"""Of the machine, for engines: the system and Kubernetes want some."""
WEIGHTS = 1.5
"""While they are loaded, weights lie in memory together with what is made of them."""
ENGINE_BYTES = {"cpu": 4 * GIB, "cuda": 12 * GIB}
"""An engine's packages on disk, and about what a server takes beside its weights."""
MEMORY_BYTES = 4 * GIB
MIN_VOLUME_GIB = 20

SECRETS = "jan-secrets"
DATABASE = "jan-database"
SETTINGS = "jan-settings"
PROVIDERS = "jan-providers"


@dataclass
class Carried:
    """What was found."""

    values: dict[str, Any]
    secrets: dict[str, dict[str, str | None]] = field(
        default_factory=dict[str, dict[str, str | None]]
    )
    """By Secret and key, what the values name. None: it is sealed, or nowhere here."""
    notes: list[str] = field(default_factory=list[str])
    """What was left behind."""

    def name(self, secret: str, key: str, value: str | None) -> dict[str, str]:
        """Put something secret aside, and tell how values name it."""
        self.secrets.setdefault(secret, {})[key] = value
        return {"name": secret, "key": key}


def carry(
    settings: Settings,
    keyring: Keyring | None,
    hardware: Hardware,
    *,
    deployments: Sequence[Deployment] | None = None,
    providers: Iterable[Mapping[str, Any]] = (),
) -> Carried:
    """Write it as values. `keyring` is None where no secrets were made yet.

    `deployments` and `providers` are what operators told a running Jan, the latter as its API has
    them; without deployments the settings say what runs.
    """
    found = Carried(values={})
    servers = [_server(each, found) for each in settings.providers]
    servers += [_registered(each, found) for each in providers if _urls(each)]
    secret = {
        name: found.name(SETTINGS, name.replace("_", "-"), values.as_text(getattr(settings, name)))
        for name in _said(settings, choices.secret())
    }
    gateway = _unless(
        ("replicas", settings.workers, 1),
        ("settings", _said(settings, choices.plain()), {}),
        ("secretSettings", secret, {}),
        ("providers", servers, []),
    )
    runs = settings.deployments if deployments is None else deployments
    engines = sum(each.instances for each in runs)
    found.values["global"] = {
        **_secrets(settings, keyring, found),
        "models": [_model(each, engines, settings, hardware, found) for each in runs],
    }
    found.values |= _unless(("gateway", gateway, {}))
    if settings.database_url is not None:
        found.values["postgresql"] = {"enabled": False}
    tls = settings.redis and settings.redis.tls
    if tls and (tls.ca_file or tls.certificate_file):
        found.notes.append("redis_url: the files with certificates that it names")
    if settings.model_store_max_bytes is not None:
        found.notes.append("model_store_max_bytes: volumes have a size of their own")
    return found


def secret_manifests(found: Carried) -> list[dict[str, Any]]:
    """Write the Secrets that the values name, in clear, as far as their values are known."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "Opaque",
            "stringData": {key: value for key, value in keys.items() if value is not None},
        }
        for name, keys in found.secrets.items()
    ]


def _said(settings: Settings, known: Iterable[str]) -> dict[str, Any]:
    return {
        name: _plain(getattr(settings, name))
        for name in known
        if getattr(settings, name) != _default(name)
    }


def _default(name: str) -> Any:
    return Settings.model_fields[name].get_default(call_default_factory=True)


def _unless(*said: tuple[str, Any, Any]) -> dict[str, Any]:
    """Keep of keys, values and defaults what is not the default."""
    return {key: value for key, value, default in said if value != default}


def _plain(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _secrets(settings: Settings, keyring: Keyring | None, found: Carried) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if keyring is not None:
        found.name(SECRETS, "jwt-secret", keyring.jwt_secret)
        found.name(SECRETS, "api-key-secret", keyring.api_key_secret)
        parts["secrets"] = {"existingSecret": SECRETS}
    if settings.database_url is not None:
        found.name(DATABASE, "url", settings.database_url.get_secret_value())
        named = {"name": DATABASE, "urlKey": "url"}
        if settings.database_migration_url is not None:
            owner = settings.database_migration_url.get_secret_value()
            named["migrationUrlKey"] = found.name(DATABASE, "migration-url", owner)["key"]
        if settings.database_direct_url is not None:
            direct = settings.database_direct_url.get_secret_value()
            named["directUrlKey"] = found.name(DATABASE, "direct-url", direct)["key"]
        if settings.database_read_urls:
            reads = values.as_text(settings.database_read_urls)
            named["readUrlsKey"] = found.name(DATABASE, "read-urls", reads)["key"]
        parts["database"] = {"existingSecret": named}
    return parts


def _server(provider: Provider, found: Carried) -> dict[str, Any]:
    said = {"name": provider.name, "urls": list(provider.urls)} | _unless(
        ("kind", provider.kind, "openai"),
        ("prefix", provider.prefix, ""),
        ("models", _plain(provider.models), None),
        ("maxRunning", provider.max_running, None),
    )
    if (api_key := provider.read_key()) is not None:
        said["apiKey"] = found.name(PROVIDERS, provider.name, api_key)
    return said


def _urls(provider: Mapping[str, Any]) -> list[str]:
    return [each["url"] for each in provider["endpoints"] if each["enabled"]]


def _registered(provider: Mapping[str, Any], found: Carried) -> dict[str, Any]:
    most = {each["max_running"] for each in provider["endpoints"]}
    said = Provider(
        name=provider["name"],
        urls=tuple(_urls(provider)),
        kind=provider["kind"],
        prefix=provider["prefix"],
        models=None if provider["models"] is None else tuple(provider["models"]),
        max_running=most.pop() if len(most) == 1 else None,
    )
    carried = _server(said, found)
    if provider["has_api_key"]:
        carried["apiKey"] = found.name(PROVIDERS, said.name, None)
    if any(each["weight"] != 1 for each in provider["endpoints"]):
        found.notes.append(f"provider {said.name}: the weights of its endpoints")
    return carried


def _model(
    deployment: Deployment, engines: int, settings: Settings, hardware: Hardware, found: Carried
) -> dict[str, Any]:
    variant = hardware.variant
    kept = store.find(settings.home, deployment.name)
    weights_bytes = kept.size_bytes if kept else 0
    revision = kept.revision if kept and kept.source == deployment.name else None
    start_s, stop_s = settings.runner_start_timeout_s, settings.runner_stop_grace_s
    said = {"name": deployment.name, "engine": variant} | _unless(
        ("replicas", deployment.instances, 1),
        ("gpus", deployment.tensor_parallel if variant == "cuda" else 0, 0),
        ("engineArgs", deployment.engine_args, ""),
        ("memoryFraction", deployment.memory_fraction, None),
        ("maxRunning", deployment.max_running, None),
        ("revision", revision, None),
        ("startTimeoutSeconds", math.ceil(start_s), _default("runner_start_timeout_s")),
        ("stopGraceSeconds", math.ceil(stop_s), _default("runner_stop_grace_s")),
    )
    said["resources"] = _resources(weights_bytes, engines, hardware)
    volume_gib = math.ceil((ENGINE_BYTES[variant] + weights_bytes * WEIGHTS) / GIB / 10) * 10
    said["persistence"] = {"size": f"{max(MIN_VOLUME_GIB, volume_gib)}Gi"}
    for name in ("gpus", "idle_unload_s"):
        if getattr(deployment, name) is not None:
            found.notes.append(f"model {deployment.name}: {name}")
    if kept and kept.source.startswith("/"):
        found.notes.append(f"model {deployment.name}: the folder that it came from")
    return said


def _resources(weights_bytes: int, engines: int, hardware: Hardware) -> dict[str, Any]:
    """An even share of this machine, and no more than is needed to begin with."""
    needed = weights_bytes * WEIGHTS + MEMORY_BYTES
    share = hardware.memory_bytes * SHARE / engines if hardware.memory_bytes else needed
    cores = max(1, (len(hardware.cpus) - 1) // engines)
    return {
        "requests": {"cpu": str(cores), "memory": _gib(min(needed, share))},
        "limits": {"memory": _gib(share)},
    }


def _gib(size_bytes: float) -> str:
    return f"{max(1, math.floor(size_bytes / GIB))}Gi"
