"""What is rendered is valid to Kubernetes, and nothing in it may do more than it must."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.helm import variants
from tests.helm.test_rendering import rendered

VERSIONS = ("1.30", "1.37")
"""The oldest that the chart allows, and the newest whose schemas are to be had."""
FOREIGN = {"HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
"""Kinds of others, of which Kubernetes itself has no schema."""
LISTENS_NOWHERE = {"worker"}
"""Containers without probes: there is nothing to ask. One that hangs loses its jobs to others."""
ENDS_BY_ITSELF = {"Job", "Pod"}
RIGHTS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


@pytest.fixture(scope="session")
def objects(variant: list[Path]) -> list[dict[str, Any]]:
    """What a variant is rendered to."""
    return rendered(variant)


def pods(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Specs of pods, each with the kind of what makes it."""
    found: list[tuple[str, dict[str, Any]]] = []
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Pod":
            found.append(("Pod", spec))
        elif "template" in spec:
            found.append((each["kind"], spec["template"]["spec"]))
    assert found
    return found


def containers(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All containers of all pods."""
    return [
        container
        for _, pod in pods(objects)
        for container in (*pod["containers"], *pod.get("initContainers", []))
    ]


def chosen(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """One object."""
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, version, strict=True)


def test_nobody_is_root_and_nothing_is_gained(objects: list[dict[str, Any]]) -> None:
    for _, pod in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    for container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_nobody_has_rights_in_the_cluster(objects: list[dict[str, Any]]) -> None:
    assert [each for each in objects if each["kind"] in RIGHTS] == []
    assert all(pod["automountServiceAccountToken"] is False for _, pod in pods(objects))
    for each in objects:
        if each["kind"] == "ServiceAccount":
            assert each["automountServiceAccountToken"] is False


def test_no_variables_of_services_reach_a_pod(objects: list[dict[str, Any]]) -> None:
    """JAN_GATEWAY_PORT, for one: Jan refuses variables of its own that it does not know."""
    assert all(pod["enableServiceLinks"] is False for _, pod in pods(objects))


def test_images_are_named_exactly(objects: list[dict[str, Any]]) -> None:
    for container in containers(objects):
        assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"])
        assert not container["image"].endswith(":latest")


def test_resources_are_asked_for_and_bounded(objects: list[dict[str, Any]]) -> None:
    for container in containers(objects):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_what_serves_is_looked_after(objects: list[dict[str, Any]]) -> None:
    for kind, pod in pods(objects):
        for container in pod["containers"]:
            if kind not in ENDS_BY_ITSELF and container["name"] not in LISTENS_NOWHERE:
                assert {"livenessProbe", "readinessProbe"} <= set(container), container["name"]


def test_no_secret_is_in_anything_but_secrets(objects: list[dict[str, Any]]) -> None:
    for container in containers(objects):
        for variable in container.get("env", []):
            if re.search(r"PASSWORD|SECRET|TOKEN|URL", variable["name"]):
                assert set(variable["valueFrom"]) == {"secretKeyRef"}, variable["name"]


def test_what_is_mounted_is_there(objects: list[dict[str, Any]]) -> None:
    claims = {
        claim["metadata"]["name"]
        for each in objects
        for claim in each.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for _, pod in pods(objects):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims


def test_names_fit(objects: list[dict[str, Any]]) -> None:
    for each in objects:
        longest = 52 if each["kind"] == "StatefulSet" else 63
        assert len(each["metadata"]["name"]) <= longest
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", each["metadata"]["name"])


def test_no_two_objects_have_one_name(objects: list[dict[str, Any]]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]

    assert len(names) == len(set(names))


def test_selectors_select_their_own_pods_alone(objects: list[dict[str, Any]]) -> None:
    makers = [each for each in objects if "template" in each.get("spec", {})]
    for maker in makers:
        if "selector" not in maker["spec"]:
            continue
        wanted = maker["spec"]["selector"]["matchLabels"].items()
        matching = [
            other["metadata"]["name"]
            for other in makers
            if wanted <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert matching == [maker["metadata"]["name"]]


def callers(policy: dict[str, Any]) -> list[str]:
    """Name the parts of Jan that alone may reach one."""
    [rule] = policy["ingress"]
    labels = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert all(each["app.kubernetes.io/instance"] == "jan" for each in labels)
    return [each["app.kubernetes.io/component"] for each in labels]


def test_only_gateways_and_workers_reach_valkey(tmp_path: Path) -> None:
    objects = rendered(variants.files("valkey-existing-secret", tmp_path))
    valkey = chosen(objects, "NetworkPolicy", "jan-valkey")["spec"]

    assert callers(valkey) == ["gateway", "worker"]
    assert valkey["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in valkey


def test_gateways_that_may_reach_little_reach_valkey(tmp_path: Path) -> None:
    files = [file for name in ("closed", "valkey") for file in variants.files(name, tmp_path)]
    gateway = chosen(rendered(files), "NetworkPolicy", "jan-gateway")["spec"]

    [rule] = [each for each in gateway["egress"] if {"port": 6379} in each.get("ports", [])]
    assert [
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in rule["to"]
    ] == ["valkey"]


def test_only_gateways_and_workers_reach_engines_and_the_database() -> None:
    objects = rendered([])
    engines = chosen(objects, "NetworkPolicy", "jan-inference")["spec"]
    database = chosen(objects, "NetworkPolicy", "jan-postgresql")["spec"]

    assert callers(engines) == ["gateway", "worker"]
    assert callers(database) == ["gateway", "worker", "migration"]
    assert "egress" not in database
    assert [port["port"] for rule in engines["egress"] for port in rule["ports"]] == [53, 53, 443]


def test_every_pod_is_under_a_policy() -> None:
    objects = rendered([])
    policies = [each["spec"]["podSelector"] for each in objects if each["kind"] == "NetworkPolicy"]
    selected = {policy["matchLabels"].get("app.kubernetes.io/component") for policy in policies}
    selected |= {
        part
        for policy in policies
        for rule in policy.get("matchExpressions", [])
        for part in rule["values"]
    }

    components = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in objects
        if "template" in each.get("spec", {})
    }
    assert components <= selected


@pytest.mark.parametrize(
    "name", ["gateway-scaled", "gateway-scaled-by-keda", "workers-scaled", "models-scaled"]
)
def test_an_autoscaler_alone_says_how_many_there_are(name: str, tmp_path: Path) -> None:
    objects = rendered(variants.files(name, tmp_path))

    targets = [
        each["spec"]["scaleTargetRef"]
        for each in objects
        if "scaleTargetRef" in each.get("spec", {})
    ]
    assert targets
    for target in targets:
        assert "replicas" not in chosen(objects, target["kind"], target["name"])["spec"]
