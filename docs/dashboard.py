"""The dashboard for Grafana. `docs/generate.py` writes it."""

import json
from typing import Any

from queries import MODEL, OF_CLIENTS, quantile, rate

from jan.metrics import names

HERE = 'instance=~"$instance"'

Panel = tuple[str, str, list[tuple[str, str]]]

ROWS: list[tuple[str, list[Panel]]] = [
    (
        "Requests",
        [
            (
                "Requests a second, by status",
                "reqps",
                [(rate(names.REQUESTS, f"{HERE}, {OF_CLIENTS}", by="status"), "{{status}}")],
            ),
            ("Errors a second", "reqps", [(rate(names.ERRORS, HERE, by="code"), "{{code}}")]),
            (
                "Duration, p95",
                "s",
                [(quantile(0.95, names.DURATION, by="route", which=HERE), "{{route}}")],
            ),
            (
                "Requests and streams now",
                "short",
                [
                    (f"sum ({names.RUNNING.name}{{{HERE}}})", "requests"),
                    (f"sum by (model) ({names.STREAMS.name}{{{HERE}}})", "streams of {{model}}"),
                ],
            ),
            (
                "Refused for being too many, a second",
                "reqps",
                [(rate(names.RATE_LIMITED, HERE, by="code"), "{{code}}")],
            ),
        ],
    ),
    (
        "Models",
        [
            (
                "Time to first token",
                "s",
                [
                    (
                        quantile(share, names.FIRST_TOKEN, by=MODEL, which=HERE),
                        f"p{share * 100:.0f} {{{{{MODEL}}}}}",
                    )
                    for share in (0.5, 0.95)
                ],
            ),
            (
                "Gap between tokens, p99",
                "s",
                [(quantile(0.99, names.TOKEN_GAP, by="model", which=HERE), "{{model}}")],
            ),
            (
                "Time of an output token, p50",
                "s",
                [(quantile(0.5, names.EACH_TOKEN, by=MODEL, which=HERE), f"{{{{{MODEL}}}}}")],
            ),
            (
                "Tokens a second",
                "short",
                [
                    (
                        rate(
                            names.TOKENS_USED, HERE, by=f"{MODEL}, gen_ai_token_type", suffix="_sum"
                        ),
                        f"{{{{gen_ai_token_type}}}} {{{{{MODEL}}}}}",
                    ),
                    (rate(names.CACHED, HERE, by="model"), "cached {{model}}"),
                ],
            ),
            (
                "Answers of model servers a second, by error",
                "reqps",
                [
                    (
                        rate(names.GENERATED_IN, HERE, by=f"{MODEL}, error_type", suffix="_count"),
                        f"{{{{{MODEL}}}}} {{{{error_type}}}}",
                    )
                ],
            ),
            (
                "Waiting for an engine",
                "short",
                [(f"sum by (model) ({names.WAITING.name}{{{HERE}}})", "{{model}}")],
            ),
            (
                "Time in the queue, p95",
                "s",
                [(quantile(0.95, names.WAITED, by="model", which=HERE), "{{model}}")],
            ),
        ],
    ),
    (
        "Model servers",
        [
            (
                "Instances, by state",
                "short",
                [
                    (
                        (
                            f"count by (provider, state) (sum by (provider, endpoint, state)"
                            f" ({names.UPSTREAM_STATE.name}{{{HERE}}}))"
                        ),
                        "{{provider}} {{state}}",
                    )
                ],
            ),
            (
                "Changes of state, in 5 minutes",
                "short",
                [
                    (
                        (
                            f"sum by (provider, state)"
                            f" (increase({names.UPSTREAM_CHANGES.name}{{{HERE}}}[5m]))"
                        ),
                        "{{provider}} {{state}}",
                    )
                ],
            ),
            (
                "Requests at each instance",
                "short",
                [
                    (
                        f"sum by (provider, endpoint) ({names.UPSTREAM_RUNNING.name}{{{HERE}}})",
                        "{{provider}} {{endpoint}}",
                    )
                ],
            ),
            (
                "Engines that are ready",
                "short",
                [(f"sum by (model) ({names.ENGINE_UP.name}{{{HERE}}})", "{{model}}")],
            ),
            (
                "vLLM: running and waiting",
                "short",
                [
                    ("sum by (model_name) (vllm:num_requests_running)", "running {{model_name}}"),
                    ("sum by (model_name) (vllm:num_requests_waiting)", "waiting {{model_name}}"),
                ],
            ),
            (
                "vLLM: cache in use",
                "percentunit",
                [("max by (model_name) (vllm:kv_cache_usage_perc)", "{{model_name}}")],
            ),
            (
                "vLLM: prompts found in the cache",
                "percentunit",
                [
                    (
                        (
                            "sum by (model_name) (rate(vllm:prefix_cache_hits_total[5m]))"
                            " / sum by (model_name) (rate(vllm:prefix_cache_queries_total[5m]))"
                        ),
                        "{{model_name}}",
                    )
                ],
            ),
        ],
    ),
    (
        "Database and jobs",
        [
            (
                "Connections",
                "short",
                [
                    (f"sum by (pool) ({metric.name}{{{HERE}}})", f"{word} {{{{pool}}}}")
                    for metric, word in (
                        (names.POOL_USED, "used"),
                        (names.POOL_IDLE, "idle"),
                        (names.POOL_MOST, "most"),
                        (names.POOL_WAITING, "waiting"),
                    )
                ],
            ),
            (
                "Database and replicas",
                "bool_yes_no",
                [
                    (f"max ({names.DATABASE_UP.name}{{{HERE}}})", "answers"),
                    (f"max by (replica) ({names.REPLICA_UP.name}{{{HERE}}})", "{{replica}} read"),
                ],
            ),
            (
                "Lag of replicas",
                "s",
                [(f"max by (replica) ({names.REPLICA_LAG.name}{{{HERE}}})", "{{replica}}")],
            ),
            (
                "Reads from replicas a second",
                "ops",
                [(rate(names.REPLICA_READS, HERE, by="replica"), "{{replica}}")],
            ),
            (
                "Jobs",
                "short",
                [
                    (f"max by (kind) ({metric.name}{{{HERE}}}) > 0", f"{word} {{{{kind}}}}")
                    for metric, word in (
                        (names.JOBS_WAITING, "waiting"),
                        (names.JOBS_RUNNING, "running"),
                        (names.JOBS_FAILED, "given up"),
                    )
                ],
            ),
            (
                "Oldest job that is due",
                "s",
                [(f"max by (kind) ({names.JOBS_OVERDUE.name}{{{HERE}}}) > 0", "{{kind}}")],
            ),
            (
                "Rows that wait, and that are lost",
                "short",
                [
                    (f"sum by (table) ({names.USAGE_WAITING.name}{{{HERE}}})", "waiting {{table}}"),
                    (f"sum by (table) ({names.USAGE_LOST.name}{{{HERE}}})", "lost {{table}}"),
                ],
            ),
        ],
    ),
    (
        "Processes",
        [
            (
                "CPU",
                "short",
                [
                    (
                        (
                            f"rate(process_cpu_seconds_total{{{HERE}}}[5m])"
                            f" and on (instance) {names.BUILD.name}"
                        ),
                        "{{instance}} {{process}}",
                    )
                ],
            ),
            (
                "Memory",
                "bytes",
                [
                    (
                        (
                            f"process_resident_memory_bytes{{{HERE}}}"
                            f" and on (instance) {names.BUILD.name}"
                        ),
                        "{{instance}} {{process}}",
                    )
                ],
            ),
            (
                "Event loop's lag, p99",
                "s",
                [(quantile(0.99, names.LOOP_LAG, by="instance", which=HERE), "{{instance}}")],
            ),
            (
                "Gateway processes that answer",
                "short",
                [(f"sum by (instance) ({names.WORKERS.name}{{{HERE}}})", "{{instance}}")],
            ),
        ],
    ),
]


def written() -> str:
    """Write the dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        )
        top += 1
        for number, (name, unit, targets) in enumerate(row):
            x, y = number % 3 * 8, top + number // 3 * 8
            panels.append(_panel(name, unit, targets, {"x": x, "y": y, "w": 8, "h": 8}))
        top += -(-len(row) // 3) * 8
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    whole = {
        "title": "Jan",
        "uid": "jan",
        "tags": ["jan"],
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "query": "prometheus",
                    "label": "Prometheus",
                },
                {
                    "name": "instance",
                    "type": "query",
                    "label": "Gateway",
                    "datasource": SOURCE,
                    "query": {
                        "query": f"label_values({names.BUILD.name}, instance)",
                        "refId": "instances",
                    },
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": panels,
    }
    return json.dumps(whole, indent=1) + "\n"


SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(
    title: str, unit: str, targets: list[tuple[str, str]], place: dict[str, int]
) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for number, (expression, legend) in enumerate(targets)
        ],
    }
