"""What Jan renders is what the real helm renders, with every value that there is."""

from pathlib import Path
from typing import Any

import pytest

from jan.errors import Misconfigured
from jan.helm import chart, documents, merging, rendering
from jan.helm.rendering import Release
from tests.helm.conftest import Helm


def rendered(files: list[Path], release: Release | None = None) -> list[dict[str, Any]]:
    """Render as `jan helm template` does."""
    whole = chart.read(chart.folder())
    values = merging.merged(whole, map(documents.one, files))
    merging.check(values, chart.schema())
    return [dict(each.object) for each in rendering.render(whole, values, release or Release())]


def flags(files: list[Path]) -> list[str]:
    return [word for file in files for word in ("--values", str(file))]


def without_chance(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is random is the same everywhere: how long it is."""
    for each in found:
        if each["kind"] == "Secret":
            each["data"] = {key: len(value) for key, value in each["data"].items()}
    return found


def test_objects_are_those_of_helm_in_their_order(helm: Helm, variant: list[Path]) -> None:
    ours = rendered(variant)

    theirs = helm.template(*flags(variant))

    assert without_chance(ours) == without_chance(theirs)


def test_the_release_and_its_namespace_are_those_of_helm(helm: Helm) -> None:
    ours = rendered([], Release("a-release-with-a-long-name", "ai"))

    done = helm.run("template", "a-release-with-a-long-name", chart.folder(), "--namespace", "ai")

    theirs = documents.parse(done.stdout, origin="helm")
    assert without_chance(ours) == without_chance(theirs)


def test_an_upgrade_is_that_of_helm(helm: Helm, variant: list[Path]) -> None:
    ours = rendered(variant, Release(is_upgrade=True))

    theirs = helm.template("--is-upgrade", *flags(variant))

    assert without_chance(ours) == without_chance(theirs)


def test_notes_are_those_of_helm(helm: Helm, variant: list[Path]) -> None:
    whole = chart.read(chart.folder())
    values = merging.merged(whole, map(documents.one, variant))

    ours = rendering.notes(whole, values, Release())

    done = helm.run("install", "jan", chart.folder(), "--dry-run=client", *flags(variant))
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("NOTES:\n")[2].strip() == ours.strip()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"postgresql": {"enabled": False}}, "global.database.existingSecret.name: is empty"),
        (
            {"global": {"database": {"existingSecret": {"name": "db"}}}},
            "global.database.existingSecret.name: names a database while",
        ),
        (
            {"global": {"models": [{"name": "org/a.b"}, {"name": "org/a-b"}]}},
            "global.models.1.name: `org/a-b` and `org/a.b` would both be called org-a-b",
        ),
        ({"global": {"models": [{"name": "gateway"}]}}, "global.models.0.name: `gateway` is what"),
        (
            {"global": {"models": [{"name": "a", "gpus": 1}]}},
            "global.models.0.gpus: the engine `cpu` uses none",
        ),
        (
            {"global": {"models": [{"name": "a", "engine": "cuda"}]}},
            "global.models.0.gpus: the engine `cuda` needs",
        ),
        (
            {
                "global": {"valkey": {"enabled": True}},
                "gateway": {"secretSettings": {"redis_url": {"name": "valkey", "key": "url"}}},
            },
            "gateway.secretSettings.redis_url: names a Valkey while",
        ),
        ({"gateway": {"ingress": {"enabled": True}}}, "gateway.ingress.hosts: names no host"),
        ({"gateway": {"gatewayApi": {"enabled": True}}}, "gateway.gatewayApi.parentRefs: names"),
        (
            {"gateway": {"autoscaling": {"enabled": True, "kind": "keda", "queueDepth": 1}}},
            "global.metrics.prometheus: KEDA wants",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused_by_both(
    helm: Helm, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(documents.write(values), encoding="utf-8")

    with pytest.raises(Misconfigured) as refused:
        rendered([file])
    done = helm.run("template", "jan", chart.folder(), "--values", file)

    assert refused.value.message.startswith(words)
    assert words in done.stderr
    assert done.returncode == 1
