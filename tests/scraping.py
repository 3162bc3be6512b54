"""Metrics as Prometheus reads them."""

from dataclasses import dataclass

import httpx
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 5


@dataclass
class Scrape:
    """What was told at one time."""

    text: str
    took_s: float

    @property
    def families(self) -> list[Family]:
        """All of it, parsed."""
        return list(text_string_to_metric_families(self.text))

    def values(self, name: str, **labels: str) -> list[float]:
        """Tell the values of all series of a name that have these labels."""
        return [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Add them up. None is 0."""
        return sum(self.values(name, **labels))


async def scrape(url: str) -> Scrape:
    """Ask as Prometheus does."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text, answer.elapsed.total_seconds())
