"""The chart itself: sound to helm, one version, every value described, and copied as it is."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jan.errors import Conflict, Misconfigured
from jan.helm import chart, documents, merging
from tests.helm.conftest import ROOT, Helm

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_helm_finds_nothing_wrong(helm: Helm, variant: list[Path]) -> None:
    done = helm.run("lint", chart.folder(), "--strict", *(f"--values={file}" for file in variant))

    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_packs_it(helm: Helm, tmp_path: Path) -> None:
    done = helm.run("package", chart.folder(), "--destination", tmp_path)

    assert done.returncode == 0, done.stderr
    packed = tmp_path / f"jan-server-{VERSION}.tgz"
    assert helm.run("template", "jan", packed).returncode == 0


@pytest.mark.parametrize(
    "path", sorted(chart.folder().rglob("Chart.yaml")), ids=lambda path: path.parent.name
)
def test_it_is_of_this_version_of_jan(path: Path) -> None:
    said = documents.one(path)

    assert (said["version"], said["appVersion"]) == (VERSION, VERSION)
    assert {each["version"] for each in said.get("dependencies", [])} <= {VERSION}


def test_the_charts_in_it_are_those_that_it_names() -> None:
    whole = chart.read(chart.folder())

    assert {each["name"] for each in whole.metadata["dependencies"]} == {
        each.name for each in whole.subcharts
    }


def test_defaults_are_what_values_may_be() -> None:
    merging.check(chart.read(chart.folder()).values, chart.schema())


def test_every_value_has_a_default_and_every_default_is_described() -> None:
    """What is not in `values.yaml` nobody finds."""
    described = {path for path in _described(chart.schema()) if not path.startswith("common")}
    given = set(_given(chart.read(chart.folder()).values))

    for free in ("gateway.settings", "gateway.secretSettings"):  # empty by default
        described = {path for path in described if not path.startswith(f"{free}.")} | {free}
    assert {path for path in described if not _is_given(path, given)} == set()
    assert {path for path in given if not _is_given(path, described)} == set()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"gateway": {"replicas": 0}}, "gateway.replicas: must be >= 1"),
        ({"gateway": {"replicas": "two"}}, "gateway.replicas: must be an integer"),
        ({"gateway": {"replica": 2}}, "gateway.replica: is unknown; did you mean `replicas`?"),
        ({"gatway": {}}, "gatway: is unknown; did you mean `gateway`?"),
        ({"global": {"models": [{}]}}, "global.models.0: wants `name`"),
        ({"global": {"models": {}}}, "global.models: must be a list"),
        ({"global": {"image": {"tag": "latest"}}}, "global.image.tag: must not be 'latest'"),
        (
            {"gateway": {"autoscaling": {"kind": "vpa"}}},
            "gateway.autoscaling.kind: must be one of 'hpa', 'keda'",
        ),
        (
            {"gateway": {"settings": {"queue_size": -1}}},
            "gateway.settings.queue_size: must be >= 0",
        ),
        (
            {"gateway": {"settings": {"smtp_password": "x"}}},
            "gateway.settings.smtp_password: is unknown",
        ),
        (
            {"gateway": {"settings": {"database_url": "postgresql://a/b"}}},
            "gateway.settings.database_url: is unknown",
        ),
        ({"gateway": {"ingress": {"className": None}}}, "gateway.ingress.className: must be text"),
        ({"gateway": None}, "gateway: must be a table"),
        (
            {"global": {"secrets": {"existingSecret": "Mine"}}},
            "global.secrets.existingSecret: is nothing that may stand here",
        ),
        (
            {"postgresql": {"persistence": {"size": "10GB"}}},
            "postgresql.persistence.size: is nothing",
        ),
    ],
)
def test_bad_values_are_named_by_their_place(
    helm: Helm, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(documents.write(values), encoding="utf-8")

    with pytest.raises(Misconfigured) as refused:
        merging.check(merging.merged(chart.read(chart.folder()), [values]), chart.schema())

    assert refused.value.message.startswith(words)
    assert helm.run("template", "jan", chart.folder(), "--values", file).returncode == 1


def test_no_value_is_a_password_by_default() -> None:
    text = json.dumps(chart.read(chart.folder()).values).lower()

    assert "password" not in text


def test_the_copy_is_the_chart(tmp_path: Path) -> None:
    target = tmp_path / "charts" / "jan"

    written = chart.write(target)

    assert {path.relative_to(target): path.read_bytes() for path in written} == {
        path.relative_to(chart.folder()): path.read_bytes()
        for path in chart.folder().rglob("*")
        if path.is_file()
    }


def test_an_older_copy_is_replaced_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    chart.write(tmp_path)
    (tmp_path / "values-mine.yaml").write_text("gateway: {}\n")
    (tmp_path / "templates/old.yaml").write_text("of an older version\n")
    (tmp_path / "values.yaml").write_text("older\n")

    chart.write(tmp_path)

    assert (tmp_path / "values-mine.yaml").exists()
    assert not (tmp_path / "templates/old.yaml").exists()
    assert (tmp_path / "values.yaml").read_bytes() == (chart.folder() / "values.yaml").read_bytes()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")

    with pytest.raises(Conflict, match="something else"):
        chart.write(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_chart_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: theirs\n")

    with pytest.raises(Conflict):
        chart.write(tmp_path)


def test_a_place_that_can_not_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Misconfigured, match="Can't write"):
        chart.write(tmp_path / "file" / "below")


def _described(schema: Mapping[str, Any]) -> Iterator[str]:
    definitions = schema["$defs"]

    def walk(part: Any, path: str) -> Iterator[str]:
        if isinstance(part, dict) and "$ref" in part:
            part = definitions[part["$ref"].rpartition("/")[2]]
        properties = part.get("properties") if isinstance(part, dict) else None
        if not properties:
            yield path
            return
        for name, inner in properties.items():
            if ((path, name) != ("", "common") and name != "global") or not path:
                yield from walk(inner, f"{path}.{name}".lstrip("."))

    return walk(schema, "")


def _given(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        place = f"{path}.{name}".lstrip(".")
        if isinstance(value, dict) and value:
            yield from _given(value, place)
        else:
            yield place


def _is_given(path: str, known: set[str]) -> bool:
    """Free tables are described as a whole, and given key by key, or the other way round."""
    return any(
        path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in known
    )
