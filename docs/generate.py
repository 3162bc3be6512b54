"""Writes what says what code says: settings, error codes, metrics, and parts of the chart.

`python docs/generate.py` writes them; a test fails when they are stale.
"""

import ast
import inspect
import json
from pathlib import Path

import alerts
import dashboard
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jan import errors
from jan.deployments import Deployment
from jan.helm import choices
from jan.inference_settings import InferenceSettings
from jan.issuers import OidcProvider
from jan.metrics import names
from jan.providers import Provider
from jan.settings import Settings
from jan.sources import ALIASES
from jan.values import shown

DOCS = Path(__file__).parent
SCHEMA = DOCS.parent / "helm/jan-server/values.schema.json"

CONFIGURATION = """\
# Configuration

Generated from `jan/settings.py` by `just docs`.

Precedence: flags on the command line, then the environment, then `jan.toml`, then defaults.
`jan config show` prints each value and where it came from; `jan config check` only checks.

`jan.toml` is looked for where `--config` or `JAN_CONFIG` says, then in the working directory, then
in `JAN_HOME`, and last, if that is `/var/lib/jan`, in `/etc/jan`. Its keys are the names below; an
unknown one is refused:

```toml
host = "0.0.0.0"
model = "Qwen/Qwen3-4B-Instruct-2507"
```

| setting | variable | default | what it does |
| --- | --- | --- | --- |
{rows}

Lists are separated by commas in the environment and are arrays in `jan.toml`; tables are JSON
there. In a list of databases only a comma before another address separates: others belong to a
password or to a list of hosts.

## Models

`jan serve` runs the model that `model` names. Where there are `[[models]]`, it runs those:

```toml
[[models]]
name = "Qwen/Qwen3-4B-Instruct-2507"
instances = 2

[[models]]
name = "BAAI/bge-m3"
memory_fraction = 0.2
```

| key | default | what it does |
| --- | --- | --- |
{deployments}

## Model servers

Servers that have models are told to a running Jan ([the fleet](fleet.md#providers)), or named here,
for machines that are set up from files:

```toml
[[providers]]
name = "acme"
urls = ["https://api.acme.example/v1", "https://eu.acme.example/v1"]
api_key_file = "/etc/jan/acme.key"
prefix = "acme/"
```

| key | default | what it does |
| --- | --- | --- |
{servers}

They are written to the database at each start, and those that are named no more are forgotten.

## Sign-in providers

Google has settings of its own. Every other OpenID provider is a table under a name that becomes
part of addresses:

```toml
[oidc_providers.corp]
issuer = "https://login.example.com/realms/corp"
client_id = "jan"
client_secret = "..."
redirect_url = "https://jan.example.com/v1/auth/oidc/corp/callback"
allowed_domains = ["example.com"]
```

| key | default | what it does |
| --- | --- | --- |
{providers}

The provider must be reachable from here by https and sign its ID tokens with RS256 or ES256. People
sign in with the e-mail address that it tells, and only if it says that the address is verified.

## Names of Jan Server

| variable | is the same as |
| --- | --- |
{aliases}
"""

ERRORS = """\
# Error codes

Generated from `jan/errors.py` by `just docs`.

Every error has the body `{{"error": {{"message", "type", "param", "code"}}}}`; on Anthropic's paths
(`/v1/messages`) it is `{{"type": "error", "error": {{"type", "message"}}, "request_id"}}`.
`code` never changes its meaning. An error of the model server keeps its status, and its code if
it sent one.

| code | status | type | meaning |
| --- | --- | --- | --- |
{rows}
"""

METRICS = """\
# Metrics

Generated from `jan/metrics/names.py` by `just docs`. [Operations](operations.md#metrics) tells
where they are told, and [Kubernetes](kubernetes.md#metrics) who collects them there.

| metric | kind | labels | what it tells |
| --- | --- | --- | --- |
{metrics}

`model`, `provider` and `endpoint` are names of the registry, never what a client wrote; `route` is
the template of a path, or `none` for what leads nowhere; methods and codes that are not Jan's own
are `other`. No label tells who asked. Those that begin with `gen_ai` are
[OpenTelemetry's](https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/), in
Prometheus' spelling.

Of each process there are `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_start_time_seconds`, `process_open_fds` and the like. In `jan serve` their label `process`
is `serve` or `gateway-1`, `gateway-2` and so on.

`jan serve` tells [vLLM's own](https://docs.vllm.ai/en/latest/usage/metrics.html) of each of its
engines too (`vllm:...`), with the labels `model` and `replica`.

## Alerts

`helm/jan-server/monitoring/alerts.yaml`, for Prometheus' `rule_files` or, by the chart, as a
PrometheusRule:

| alert | severity | when | for |
| --- | --- | --- | --- |
{alerts}
"""


def configuration() -> str:
    """The page of settings."""
    rows = "\n".join(
        f"| `{name}` | `JAN_{name.upper()}` | {_default(name)} | {_line(field.description)} |"
        for name, field in sorted(Settings.model_fields.items(), key=_comes_from_below)
    )
    aliases = "\n".join(f"| `{alias}` | `JAN_{name.upper()}` |" for alias, name in ALIASES.items())
    return CONFIGURATION.format(
        rows=rows,
        aliases=aliases,
        providers=_keys(OidcProvider),
        deployments=_keys(Deployment),
        servers=_keys(Provider),
    )


def _keys(table: type[BaseModel]) -> str:
    return "\n".join(
        f"| `{name}` | {_text(field.default)} | {_line(field.description)} |"
        for name, field in table.model_fields.items()
    )


def _comes_from_below(named: tuple[str, FieldInfo]) -> bool:
    """Put what a Jan is first, and then what it runs."""
    return named[0] in InferenceSettings.model_fields


def error_codes() -> str:
    """The page of error codes, in the order of the tree."""
    tree = ast.parse(inspect.getsource(errors))
    classes = [getattr(errors, node.name) for node in tree.body if isinstance(node, ast.ClassDef)]
    rows = "\n".join(
        f"| `{kind.code}` | {kind.status} | `{kind.type}` | {_line(kind.__doc__)} |"
        for kind in classes
    )
    return ERRORS.format(rows=rows)


def _default(name: str) -> str:
    if name == "home":
        return "`~/.local/share/jan`, for root `/var/lib/jan`"
    return _text(Settings.model_fields[name].default)


def _text(default: object) -> str:
    value = "" if default is PydanticUndefined else shown(default)
    return f"`{value}`" if value else ""


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def metrics() -> str:
    """Write the page of metrics."""
    return METRICS.format(
        metrics="\n".join(
            f"| `{each.name}` | {each.kind} | {_code(each.labels)} | {each.text} |"
            for each in names.ALL
        ),
        alerts="\n".join(
            f"| `{each.name}` | {each.severity} | `{_cell(each.expression)}` | {each.lasts} |"
            for each in alerts.ALERTS
        ),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def chart_schema() -> str:
    """What values of the chart may be: written by hand, but for the settings."""
    schema = json.loads(SCHEMA.read_bytes())
    schema["$defs"] |= choices.schema()
    return json.dumps(schema, indent=2) + "\n"


PAGES = {
    "configuration.md": configuration,
    "errors.md": error_codes,
    "metrics.md": metrics,
    "../helm/jan-server/monitoring/alerts.yaml": alerts.rules,
    "../helm/jan-server/monitoring/dashboard.json": dashboard.written,
    "../helm/jan-server/values.schema.json": chart_schema,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
