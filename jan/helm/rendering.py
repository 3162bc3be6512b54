"""Manifests of the chart without the helm program: its templates by `gotpl`, in helm's order.

Nothing is looked up in a cluster, as `helm template` does not either: what the chart makes once and
keeps is made anew each time.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gotpl.errors import TemplateError
from gotpl.exts.helm import HelmTemplateEngine

from jan.errors import Misconfigured
from jan.helm import documents, merging
from jan.helm.chart import Chart

NOTES = "NOTES.txt"
HOOK = "helm.sh/hook"
KUBERNETES = "v1.37.0"
"""What helm 4.3 takes a cluster for that it does not ask."""
SEPARATOR = re.compile(r"(?:^|\n)---[ \t]*(?:\n|$)")
REASON = re.compile(r"function '(?:fail|required)' failed: (.*)", re.DOTALL)
"""What a template of ours says about values. Whatever else it may be is told with its place."""

# Source: https://github.com/helm/helm/blob/main/pkg/release/v1/util/kind_sorter.go (InstallOrder)
ORDER = (
    *("PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange"),
    *("PodSecurityPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList"),
    *("ConfigMap", "StorageClass", "PersistentVolume", "PersistentVolumeClaim"),
    *("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    *("Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment"),
    *("HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress"),
    *("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
)


@dataclass(frozen=True)
class Release:
    """What the chart is installed as."""

    name: str = "jan"
    namespace: str = "default"
    is_upgrade: bool = False
    """Whether there is an older one of it."""


@dataclass(frozen=True)
class Manifest:
    """One object, as its template wrote it and as it is read."""

    source: str
    text: str
    object: Mapping[str, Any]

    @property
    def is_hook(self) -> bool:
        """Whether helm runs it at some time, in place of keeping it."""
        return HOOK in (self.object["metadata"].get("annotations") or {})

    @property
    def kind(self) -> str:
        """What it is to Kubernetes."""
        return self.object["kind"]


class _Files:
    """What templates call `.Files`."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def Get(self, name: str) -> str:  # noqa: N802 - helm's name
        """Give a file's text. One that is not there is empty."""
        return self._files.get(name, "")


def render(chart: Chart, values: Mapping[str, Any], release: Release) -> list[Manifest]:
    """Render everything but the notes. `values` are whole, as `merging.merged` makes them.

    Raises:
        Misconfigured: a template refuses them.
    """
    rendered = _run(chart, values, release, is_notes=False)
    found = [each for source in sorted(rendered) for each in _split(source, rendered[source])]
    return sorted(found, key=lambda each: (each.is_hook, *_rank(each.kind)))


def notes(chart: Chart, values: Mapping[str, Any], release: Release) -> str:
    """What is told to who installs it. Raises as `render`."""
    return "".join(_run(chart, values, release, is_notes=True).values())


def _run(
    chart: Chart, values: Mapping[str, Any], release: Release, *, is_notes: bool
) -> dict[str, str]:
    sources: dict[str, str] = {}
    contexts: dict[str, Mapping[str, Any]] = {}
    for path, part, seen in _parts(chart, values, chart.name):
        context = {
            "Values": seen,
            # Helm's own names for what Chart.yaml says.
            "Chart": {key[0].upper() + key[1:]: value for key, value in part.metadata.items()},
            "Release": {
                "Name": release.name,
                "Namespace": release.namespace,
                "Service": "Helm",
                "IsInstall": not release.is_upgrade,
                "IsUpgrade": release.is_upgrade,
                "Revision": 1,
            },
            "Files": _Files(part.files),
            "Capabilities": {"KubeVersion": {"Version": KUBERNETES, "GitVersion": KUBERNETES}},
        }
        for name, text in part.templates.items():
            source = f"{path}/{name}"
            sources[source] = text
            file = name.rpartition("/")[2]
            if part.is_library or file.startswith("_") or (file == NOTES) is not is_notes:
                continue
            if file != NOTES or path == chart.name:
                template = {"Name": source, "BasePath": f"{path}/templates"}
                contexts[source] = {**context, "Template": template}
    try:
        return HelmTemplateEngine(sources).render(contexts)
    except TemplateError as error:
        raise Misconfigured(_reason(error)) from None


def _parts(
    chart: Chart, values: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Chart, Mapping[str, Any]]]:
    yield path, chart, values
    for part in chart.used(values):
        seen = merging.of_subchart(part, values)
        yield from _parts(part, seen, f"{path}/charts/{part.name}")


def _split(source: str, text: str) -> Iterator[Manifest]:
    for part in SEPARATOR.split(text):
        for found in documents.parse(part, origin=source):
            yield Manifest(source, part.strip("\n"), found)


def _rank(kind: str) -> tuple[int, str]:
    return (ORDER.index(kind), "") if kind in ORDER else (len(ORDER), kind)


def _reason(error: Exception) -> str:
    found = REASON.search(str(error))
    return found.group(1) if found else str(error)
