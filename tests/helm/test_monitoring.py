"""The alert rules and the dashboard are what Prometheus and Grafana read, and name what exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jan.helm import chart, documents
from jan.metrics import names
from tests.helm import variants
from tests.helm.test_rendering import rendered

FOLDER = chart.folder() / "monitoring"
LABELS = {"namespace", "instance", "pod", "process", "model_name", "le"}
"""Those that are not a metric's of ours."""
WORDS = {"by", "sum", "max", "count", "rate", "increase", "delta", "and", "or", "on"} | {
    "histogram_quantile"
}


@pytest.fixture
def objects(tmp_path: Path) -> list[dict[str, Any]]:
    return rendered(variants.files("monitored", tmp_path))


def found(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [chosen] = [e for e in objects if (e["kind"], e["metadata"]["name"]) == (kind, name)]
    return chosen


def expressions() -> list[str]:
    rules = documents.one(FOLDER / "alerts.yaml")["groups"][0]["rules"]
    panels = json.loads((FOLDER / "dashboard.json").read_bytes())["panels"]
    targets = [target for panel in panels for target in panel.get("targets", [])]
    return [rule["expr"] for rule in rules] + [target["expr"] for target in targets]


def test_rules_are_rendered_as_they_are_written(objects: list[dict[str, Any]]) -> None:
    rule = found(objects, "PrometheusRule", "jan-alerts")

    assert rule["spec"] == documents.one(FOLDER / "alerts.yaml")
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_dashboard_is_rendered_as_it_is_written(objects: list[dict[str, Any]]) -> None:
    dashboard = found(objects, "ConfigMap", "jan-dashboard")

    assert dashboard["data"]["jan.json"] == (FOLDER / "dashboard.json").read_text()
    assert (
        dashboard["metadata"]["labels"] | {"grafana_dashboard": "1", "folder": "ai"}
        == (dashboard["metadata"]["labels"])
    )


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_whole_and_its_labels_are_those_of_its_metrics(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    said = set(re.findall(r"[a-z_:]{2,}", re.sub(r"\[\w+\]", "", bare))) - WORDS
    metrics = {word for word in said if word.startswith(("jan_", "gen_ai_s", "gen_ai_c", "vllm:"))}
    metrics |= {word for word in said if word.startswith("process_")}
    known = {
        label
        for name in metrics
        for label in names.BY_NAME.get(
            re.sub(r"_(bucket|sum|count)$", "", name), names.ENGINE_UP
        ).labels
    }

    assert metrics
    assert said - metrics - known - LABELS == set()
    for pair in ("()", "{}", "[]"):
        assert bare.count(pair[0]) == bare.count(pair[1])


def test_only_who_collects_metrics_reaches_them(objects: list[dict[str, Any]]) -> None:
    monitored = found(objects, "NetworkPolicy", "jan-gateway")["spec"]["ingress"]
    alone = found(rendered([]), "NetworkPolicy", "jan-gateway")["spec"]["ingress"]

    assert monitored[1] == {"ports": [{"port": "private"}], "from": variants.PEERS}
    assert alone == [{"ports": [{"port": "http"}]}]


def test_what_is_collected_is_found(objects: list[dict[str, Any]]) -> None:
    monitor = found(objects, "ServiceMonitor", "jan-gateway")["spec"]
    service = found(objects, "Service", "jan-gateway-private")
    pod = found(objects, "Deployment", "jan-gateway")["spec"]["template"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [port] = service["spec"]["ports"]
    assert {"name": port["targetPort"], "containerPort": 6060} in (
        pod["spec"]["containers"][0]["ports"]
    )
    assert monitor["endpoints"][0]["port"] == port["name"]
    assert found(objects, "Service", "jan-gateway")["spec"]["ports"][0]["targetPort"] == "http"


@pytest.mark.parametrize("variant", ["gateway-scaled", "gateway-scaled-by-keda"])
def test_gateways_are_scaled_by_metrics_that_they_tell(variant: str, tmp_path: Path) -> None:
    [scaler] = [
        each
        for each in rendered(variants.files(variant, tmp_path))
        if "scaleTargetRef" in each.get("spec", {})
    ]

    said = json.dumps(scaler["spec"])
    assert set(re.findall(r"jan_gateway_\w+", said)) == {names.WAITING.name, names.STREAMS.name}
    assert "vllm" not in said
