"""Metrics as Prometheus' text, written, read, and made one of several processes'.

The text is that of Prometheus since ever: what OpenMetrics has more, nothing of ours uses.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from jan.metrics.names import BY_NAME, Metric
from jan.metrics.tallies import Tally

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
OF_PROCESS = "process_"
"""Begins what is told of each process, and is never added up."""

Labels = tuple[str, ...]
Place = tuple[str, frozenset[tuple[str, str]]]
"""A series: its name, and its labels."""


def family(metric: Metric, values: Mapping[Labels, float]) -> Family:
    """Make a counter or a gauge of its values, by their labels in the metric's order."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(metric.name, metric.text, labels=metric.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def histogram(metric: Metric, tallies: Mapping[Labels, Tally]) -> Family:
    """Make a histogram."""
    made = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    ends = [floatToGoString(bound) for bound in (*metric.bounds, float("inf"))]
    for labels, tally in tallies.items():
        made.add_metric(labels, list(zip(ends, accumulate(tally.counts), strict=True)), tally.sum)
    return made


class _Collected:
    """What `generate_latest` writes: all that it asks a registry for."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def text(families: Iterable[Family]) -> bytes:
    """Write them, in their order."""
    return generate_latest(_Collected(families))


def read(said: bytes) -> list[Family]:
    """Read what a process wrote.

    Raises:
        ValueError: it is no such text.
    """
    return list(text_string_to_metric_families(said.decode()))


def merged(
    processes: Mapping[str, Sequence[Family]], past: Iterable[Sequence[Family]]
) -> list[Family]:
    """Make one of what several processes of one program say, by their names.

    What counts up is added, that of the `past` too: what processes said last that are no more, or
    do not answer. Gauges of theirs are gone. Of a gauge that all measure alike the largest holds.
    """
    found: dict[str, Family] = {}
    values: dict[str, dict[Place, float]] = {}
    for process, families in [*processes.items(), *(("", each) for each in past)]:
        for each in families:
            counts_up = each.type in {"counter", "histogram"}
            if each.name.startswith(OF_PROCESS):
                if process:
                    _add_labels(found, each, {"process": process})
                continue
            if not (process or counts_up):
                continue
            known = found.setdefault(each.name, _like(each))
            metric = BY_NAME.get(each.name)
            join = max if metric is not None and metric.is_common else float.__add__
            into = values.setdefault(each.name, {})
            for sample in each.samples:
                place = (sample.name, frozenset(sample.labels.items()))
                if place not in into:
                    known.samples.append(sample)
                    into[place] = sample.value
                else:
                    into[place] = join(into[place], sample.value)
    for name, into in values.items():
        found[name].samples = [
            sample._replace(value=into[sample.name, frozenset(sample.labels.items())])
            for sample in found[name].samples
        ]
    return list(found.values())


def labelled(
    said: Iterable[tuple[Mapping[str, str], Sequence[Family]]], prefix: str
) -> list[Family]:
    """Make one of what several say, each with labels that tell them apart.

    Only families whose names begin with the prefix are kept, and none that tells when others began.
    """
    found: dict[str, Family] = {}
    for labels, families in said:
        for each in families:
            if each.name.startswith(prefix) and not each.name.endswith("_created"):
                _add_labels(found, each, labels)
    return list(found.values())


def _add_labels(found: dict[str, Family], each: Family, labels: Mapping[str, str]) -> None:
    known = found.setdefault(each.name, _like(each))
    known.samples += [
        Sample(sample.name, {**sample.labels, **labels}, sample.value) for sample in each.samples
    ]


def _like(each: Family) -> Family:
    return Family(each.name, each.documentation, each.type)
