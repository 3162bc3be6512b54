"""Questions to Prometheus about metrics of ours, put together from their declarations."""

from jan.metrics.names import Metric

OF_CLIENTS = 'route!~"/livez|/readyz|/healthcheck"'
"""Not those of probes, whose 503 is what they ask for."""
MODEL = "gen_ai_request_model"


def rate(metric: Metric, which: str = "", *, by: str = "", suffix: str = "") -> str:
    """Ask how much a counter grows in a second, of the series that `which` selects."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric.name}{suffix}{_braces(which)}[5m]))"


def quantile(share: float, metric: Metric, *, by: str = "", which: str = "") -> str:
    """Ask below what a share of the values of a histogram is."""
    assert metric.kind == "histogram"
    groups = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, {rate(metric, which, by=groups, suffix='_bucket')})"


def _braces(which: str) -> str:
    return f"{{{which}}}" if which else ""
