"""What differs, and what is not a difference."""

import copy
from typing import Any

from jan.helm import diff, documents
from jan.helm.rendering import Release
from tests.helm.test_rendering import rendered


def live(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as a cluster gives them back, with what it adds."""
    found = copy.deepcopy([each for each in objects if not _is_hook(each)])
    for each in found:
        each["metadata"] |= {"uid": "1234", "resourceVersion": "7", "namespace": "default"}
        each["status"] = {"replicas": 1}
        pod = each.get("spec", {}).get("template", {}).get("spec")
        if pod:
            pod["dnsPolicy"] = "ClusterFirst"
            for container in pod["containers"]:
                container["terminationMessagePath"] = "/dev/termination-log"
    return found


def _is_hook(thing: dict[str, Any]) -> bool:
    return "helm.sh/hook" in thing["metadata"].get("annotations", {})


def changed(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in objects if each["kind"] == kind)


def test_the_same_is_no_difference_though_secrets_are_made_anew() -> None:
    assert diff.compare(rendered([]), rendered([])) == []


def test_a_change_is_shown_where_it_is() -> None:
    old, new = rendered([]), rendered([])
    changed(new, "Deployment")["spec"]["replicas"] = 4

    lines = diff.compare(old, new)

    assert lines[:2] == [
        "--- Deployment.apps jan-gateway (old)",
        "+++ Deployment.apps jan-gateway (new)",
    ]
    assert [line for line in lines[2:] if line.startswith(("-", "+"))] == [
        "-  replicas: 1",
        "+  replicas: 4",
    ]


def test_what_comes_and_what_goes_is_shown_whole() -> None:
    old, new = rendered([]), rendered([])
    old.remove(changed(old, "Job"))
    new.remove(changed(new, "ServiceAccount"))

    lines = diff.compare(old, new)

    assert [line for line in lines if line.startswith(("--- ", "+++ "))] == [
        "--- /dev/null",
        f"+++ Job.batch {changed(new, 'Job')['metadata']['name']} (new)",
        "--- ServiceAccount jan (old)",
        "+++ /dev/null",
    ]


def test_what_a_cluster_adds_is_no_difference_and_what_it_has_otherwise_is() -> None:
    new = rendered([])
    there = live(new)
    assert diff.compare(there, new) == []

    changed(there, "StatefulSet")["spec"]["replicas"] = 3

    assert [line for line in diff.compare(there, new) if line.startswith(("-  ", "+  "))] == [
        "-  replicas: 3",
        "+  replicas: 1",
    ]


def test_an_upgrade_of_what_helm_keeps_is_no_difference() -> None:
    upgraded = rendered([], Release(is_upgrade=True))
    kept = [each for each in upgraded if not _is_hook(each)]

    assert not diff.has_hooks(kept)
    assert diff.compare(kept, upgraded) == []


def test_values_of_secrets_are_never_shown() -> None:
    old, new = rendered([]), rendered([])
    secret = changed(new, "Secret")
    secret["data"]["more"] = "bW9yZQ=="
    values = [
        value
        for each in (*old, *new)
        if each["kind"] == "Secret"
        for value in each["data"].values()
    ]

    lines = diff.compare(old, new)

    assert "+  more: '***'" in lines
    assert not [value for value in values if value in "\n".join(lines)]


def test_lists_of_a_cluster_are_read() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": live(rendered([]))}
    [found] = documents.parse(documents.write(listed), origin="kubectl")

    assert diff.is_manifests([found])
    assert diff.compare(diff.objects([found]), rendered([])) == []
