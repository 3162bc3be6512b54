"""Settings that values of the chart may choose, and what they may be there.

The others are the chart's: what follows from where a pod runs, and what has a place of its own in
the values. `just docs` writes these into the chart's schema.
"""

from functools import cache
from typing import Any

from jan.settings import Settings

OF_THE_CHART = frozenset(
    {
        *("home", "host", "port", "private_host", "private_port", "workers", "server", "admin_key"),
        *("database_url", "database_migration_url", "database_direct_url", "database_read_urls"),
        *("jwt_secret", "api_key_secret", "providers"),
        *("model", "models", "engine", "engine_args", "model_store_max_bytes"),
        *("runner_host", "runner_port", "runner_socket"),
        *("runner_start_timeout_s", "runner_stop_grace_s"),
    }
)
WITH_SECRETS = frozenset({"oidc_providers"})
"""Tables in which one of the values is secret: all of it is then."""


@cache
def _properties() -> dict[str, dict[str, Any]]:
    whole = Settings.model_json_schema()
    return {
        name: _plain(part, whole["$defs"])
        for name, part in whole["properties"].items()
        if name not in OF_THE_CHART
    }


def plain() -> dict[str, Any]:
    """Schema of those that anybody may read."""
    return {name: part for name, part in _properties().items() if not _is_secret(name, part)}


def secret() -> list[str]:
    """Names of those that a Secret has."""
    return [name for name, part in _properties().items() if _is_secret(name, part)]


def schema() -> dict[str, Any]:
    """What stands for both in the schema of the chart."""
    return {
        "settings": {
            "description": "Settings of Jan, see docs/configuration.md.",
            "type": "object",
            "additionalProperties": False,
            "properties": plain(),
        },
        "secretSettings": {
            "description": "Secret settings of Jan, each with the key of a Secret that has it.",
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"$ref": "#/$defs/secretKey"} for name in secret()},
        },
    }


def _plain(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Say it without what only Python knows: titles, defaults and classes, which are text here."""
    if "$ref" in part and definitions[part["$ref"].rpartition("/")[2]].get("type") == "object":
        return {"type": "string"}
    kept = {key: part[key] for key in part if key not in {"title", "default"}}
    if "description" in kept:
        kept["description"] = " ".join(kept["description"].split())
    if isinstance(kept.get("items"), dict):
        kept["items"] = _plain(kept["items"], definitions)
    if "anyOf" in kept:
        kept["anyOf"] = [_plain(each, definitions) for each in kept["anyOf"]]
        said = [each for each in kept["anyOf"] if each.get("type") != "null"]
        if len(said) == 1 and len(said) < len(kept["anyOf"]):  # null is what is not said
            del kept["anyOf"]
            kept |= said[0]
    return kept


def _is_secret(name: str, part: dict[str, Any]) -> bool:
    items = part.get("items", {})
    return name in WITH_SECRETS or "password" in {part.get("format"), items.get("format")}
