"""Every metric of Jan: its name, what it tells, its labels. Nothing is told under another name.

The page, the dashboard and the alert rules are made from these (`docs/generate.py`). Where
OpenTelemetry has a name for something about generation it is that, with attributes as labels.

Source: https://prometheus.io/docs/practices/naming/
Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from dataclasses import dataclass
from typing import Literal

from jan.telemetry import GAP_BOUNDS_S

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as it is scraped."""

    name: str
    kind: Kind
    text: str
    """What it tells, in a sentence."""
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets."""
    is_common: bool = False
    """Whether all processes measure the same thing: of several the largest holds, not the sum."""


SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""From an answer out of memory to a long stream."""
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

# OpenTelemetry names the bounds too.
DURATION_S = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)
EACH_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
TOKENS = tuple(float(4**power) for power in range(14))

GENERATION = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
"""What was asked for, of whom, and the model by the name that the registry has for it."""

REQUESTS = Metric(
    "jan_gateway_requests_total",
    "counter",
    "Requests that have ended, by their status: 499 if the client left, 502 if a stream broke.",
    ("method", "route", "status"),
)
ERRORS = Metric(
    "jan_gateway_errors_total",
    "counter",
    "Requests that ended with an error, by its code (`docs/errors.md`); codes of others' are"
    " `other`.",
    ("route", "code"),
)
RATE_LIMITED = Metric(
    "jan_gateway_rate_limited_total",
    "counter",
    "Requests that were refused for being too many, by the code of the error.",
    ("code",),
)
DURATION = Metric(
    "jan_gateway_request_duration_seconds",
    "histogram",
    "From a request's head to the last byte of its answer.",
    ("method", "route"),
    SHORT_S,
)
RUNNING = Metric("jan_gateway_requests_running", "gauge", "Requests that have not ended.")
STREAMS = Metric(
    "jan_gateway_streams",
    "gauge",
    "Streams that have not ended, by the model that answers.",
    ("model",),
)
WAITING = Metric(
    "jan_gateway_queue_waiting",
    "gauge",
    "Requests that wait for an instance of a model to have room.",
    ("model",),
)
WAITED = Metric(
    "jan_gateway_queue_wait_seconds",
    "histogram",
    "For how long requests waited for that, of those that got their turn.",
    ("model",),
    SHORT_S,
)
TOKEN_GAP = Metric(
    "jan_gateway_token_gap_seconds",
    "histogram",
    "Between two pieces of a stream that is relayed, counted when it has ended.",
    ("model",),
    GAP_BOUNDS_S,
)
CACHED = Metric(
    "jan_gateway_cached_tokens_total",
    "counter",
    "Tokens of prompts that the model server had in its cache.",
    ("model",),
)
GENERATED_IN = Metric(
    "gen_ai_server_request_duration_seconds",
    "histogram",
    "Requests that were sent to a model server, to the last byte of the answer. `error_type` is"
    " the code of the error, if there was one.",
    (*GENERATION, "error_type"),
    DURATION_S,
)
FIRST_TOKEN = Metric(
    "gen_ai_server_time_to_first_token_seconds",
    "histogram",
    "From a request's head to the first token of its stream.",
    GENERATION,
    FIRST_TOKEN_S,
)
EACH_TOKEN = Metric(
    "gen_ai_server_time_per_output_token_seconds",
    "histogram",
    "Mean time of a token after the first, of each stream that is relayed.",
    GENERATION,
    EACH_TOKEN_S,
)
TOKENS_USED = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of each request, as they are booked; `gen_ai_token_type` is `input` or `output`.",
    (*GENERATION, "gen_ai_token_type"),
    TOKENS,
)
UPSTREAM_STATE = Metric(
    "jan_gateway_upstream_state",
    "gauge",
    "How many gateway processes see an instance in this state (`docs/fleet.md`).",
    ("provider", "endpoint", "state"),
)
UPSTREAM_CHANGES = Metric(
    "jan_gateway_upstream_changes_total",
    "counter",
    "How often an instance of a provider came into this state, in the eyes of a gateway process.",
    ("provider", "state"),
)
UPSTREAM_RUNNING = Metric(
    "jan_gateway_upstream_running",
    "gauge",
    "Requests that an instance was sent and has not answered to the end.",
    ("provider", "endpoint"),
)
USAGE_WAITING = Metric(
    "jan_usage_rows_waiting",
    "gauge",
    "Rows that wait to be written into a table, for a second or while the database is away.",
    ("table",),
)
USAGE_LOST = Metric(
    "jan_usage_rows_lost_total", "counter", "Rows that will never be written.", ("table",)
)
POOL_USED = Metric(
    "jan_database_connections_used", "gauge", "Connections that somebody has borrowed.", ("pool",)
)
POOL_IDLE = Metric(
    "jan_database_connections_idle", "gauge", "Connections that are open and free.", ("pool",)
)
POOL_MOST = Metric(
    "jan_database_connections_max", "gauge", "Most connections that there may be.", ("pool",)
)
POOL_WAITING = Metric(
    "jan_database_connections_waiting", "gauge", "Who waits for a connection.", ("pool",)
)
REPLICA_UP = Metric(
    "jan_database_replica_up",
    "gauge",
    "1 if a replica is read, 0 if reads go past it.",
    ("replica",),
    is_common=True,
)
REPLICA_LAG = Metric(
    "jan_database_replica_lag_seconds",
    "gauge",
    "How old what a replica says may be; missing where that is not known.",
    ("replica",),
    is_common=True,
)
REPLICA_READS = Metric(
    "jan_database_replica_reads_total", "counter", "Lists that a replica answered.", ("replica",)
)
DATABASE_UP = Metric(
    "jan_database_up",
    "gauge",
    "1 if the database answered this scrape within half a second, else 0.",
    is_common=True,
)
JOBS_WAITING = Metric(
    "jan_jobs_waiting",
    "gauge",
    "Jobs that nobody has taken yet, in the whole database. Missing while that is away.",
    ("kind",),
    is_common=True,
)
JOBS_RUNNING = Metric(
    "jan_jobs_running", "gauge", "Jobs that some process does.", ("kind",), is_common=True
)
JOBS_FAILED = Metric(
    "jan_jobs_failed", "gauge", "Jobs that were given up.", ("kind",), is_common=True
)
JOBS_OVERDUE = Metric(
    "jan_jobs_overdue_seconds",
    "gauge",
    "For how long the oldest job has been due that nobody has taken.",
    ("kind",),
    is_common=True,
)
LOOP_LAG = Metric(
    "jan_event_loop_lag_seconds",
    "histogram",
    "How late the event loop of a gateway process wakes up who sleeps: twice a second.",
    bounds=LAG_S,
)
WORKERS = Metric(
    "jan_gateway_processes", "gauge", "Gateway processes that answered this scrape in time."
)
ENGINE_UP = Metric(
    "jan_engine_up",
    "gauge",
    "1 if an engine of `jan serve` told its metrics within a second, else 0.",
    ("model", "replica"),
)
BUILD = Metric("jan_build_info", "gauge", "Always 1.", ("version",), is_common=True)

ALL: tuple[Metric, ...] = tuple(each for each in globals().values() if isinstance(each, Metric))
"""In the order above."""
BY_NAME = {each.name: each for each in ALL}
