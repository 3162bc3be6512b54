"""The chart that ships with Jan: read whole, checked against its schema, written out."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jan import assets
from jan.errors import Conflict, Misconfigured
from jan.helm import documents

NAME = "jan-server"
FILES = "monitoring"
"""The folder of what is no template, and is put into objects as it is."""
FOLDERS = ("templates", "charts", FILES)
"""What lies in these is the chart's alone; beside them people may have values files of theirs."""


@dataclass(frozen=True)
class Chart:
    """One chart, with those in it."""

    metadata: Mapping[str, Any]
    values: Mapping[str, Any]
    templates: Mapping[str, str]
    """By their paths from the folder of the chart."""
    files: Mapping[str, str]
    """The same of what lies in `FILES`."""
    subcharts: "tuple[Chart, ...]"

    @property
    def name(self) -> str:
        """By which values and paths call it."""
        return self.metadata["name"]

    @property
    def is_library(self) -> bool:
        """Whether it holds nothing but what others include."""
        return self.metadata.get("type") == "library"

    def used(self, values: Mapping[str, Any]) -> "Iterator[Chart]":
        """Those of its charts that the values leave in."""
        conditions = {each["name"]: each.get("condition") for each in self._dependencies}
        for chart in self.subcharts:
            condition = conditions.get(chart.name)
            if condition is None or documents.at(values, condition) is not False:
                yield chart

    @property
    def _dependencies(self) -> list[dict[str, Any]]:
        return self.metadata.get("dependencies", [])


def folder() -> Path:
    """Find the chart in this copy of Jan."""
    return assets.path("helm/jan-server")


def schema() -> dict[str, Any]:
    """What values may be."""
    return json.loads((folder() / "values.schema.json").read_bytes())


def read(place: Path) -> Chart:
    """Read a chart and those in it."""
    defaults = place / "values.yaml"
    subcharts = sorted((place / "charts").glob("*/Chart.yaml"))
    return Chart(
        metadata=documents.one(place / "Chart.yaml"),
        values=documents.one(defaults) if defaults.exists() else {},
        templates={
            path.relative_to(place).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted((place / "templates").rglob("*"))
            if path.suffix in {".yaml", ".tpl", ".txt"}
        },
        files={
            path.relative_to(place).as_posix(): path.read_text(encoding="utf-8")
            for path in (place / FILES).glob("*")
        },
        subcharts=tuple(read(path.parent) for path in subcharts),
    )


def write(target: Path) -> list[Path]:
    """Copy the chart into a folder. Returns its files there.

    An older one in it is replaced; what else lies beside its own folders stays.

    Raises:
        Conflict: something else is there.
        Misconfigured: the folder can't be written to.
    """
    try:
        _refuse_what_is_not_ours(target)
        for name in FOLDERS:
            shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(folder(), target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    except OSError as error:
        raise Misconfigured(f"Can't write to {target}: {error.strerror}.") from None
    return sorted(path for path in target.rglob("*") if path.is_file())


def _refuse_what_is_not_ours(target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    manifest = target / "Chart.yaml"
    if manifest.is_file() and documents.one(manifest).get("name") == NAME:
        return
    raise Conflict(
        f"{target} holds something else than the chart.", hint="Name a folder that is new or empty."
    )
