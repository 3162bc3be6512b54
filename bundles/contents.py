"""What an executable turned out to consist of: distributions, and libraries of the system.

Found from the files that went in, so that what is only asked for is not listed, and what came
along unasked is.
"""

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Self

from bundles.profile import File

LICENCE_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
METADATA = ("METADATA", "entry_points.txt")
"""Of a distribution, what code may ask for. The rest tells of this machine."""
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Component:
    """Something with a name, a version and a licence."""

    name: str
    version: str
    licence: str
    kind: str
    """`pypi`, `deb` or `generic`: where it comes from, as package URLs say it."""


@dataclass
class Contents:
    """The components of an executable."""

    components: list[Component]
    _found: list[Distribution] = field(default_factory=list[Distribution], repr=False)

    @classmethod
    def of(cls, toc: Iterable[tuple[str, str, str]], site_packages: Path) -> Self:
        """Look up where the files of PyInstaller's tables come from."""
        owners = {
            Path(str(each.locate_file(file))).resolve(): each
            for each in distributions(path=[str(site_packages)])
            for file in each.files or ()
        }
        python = Path(sysconfig.get_path("stdlib")).resolve()
        found = {"jan": Distribution.from_name("jan")}  # its files are the checkout's
        libraries: dict[str, Component] = {}
        for inside, said, _ in toc:
            source = Path(said).resolve()
            if owner := owners.get(source):
                found[owner.name] = owner
            elif _is_library(source) and python not in source.parents:
                libraries[inside] = _library(source)
        held = sorted(found.values(), key=lambda each: each.name.lower())
        return cls(sorted({*map(_distribution, held), *libraries.values()}), held)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls([Component(**each) for each in json.loads(path.read_text(encoding="utf-8"))])

    def write(self, path: Path) -> None:
        """Write the components down, for the manifest."""
        rows = [asdict(component) for component in self.components]
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")

    def require_locked(self, lock: Path) -> None:
        """Check that nothing of the build itself went in.

        Raises:
            SystemExit: something did that the program does not ask for.
        """
        locked = {_normalized(name) for name in PINNED.findall(lock.read_text(encoding="utf-8"))}
        held = {each.name for each in self.components if each.kind == "pypi"} - {"jan"}
        strangers = sorted(name for name in held if _normalized(name) not in locked)
        if strangers:
            raise SystemExit(
                f"error: {', '.join(strangers)} went in and is not in {lock.name}.\n"
                "hint: the profile's `exclude` keeps imports out."
            )

    def metadata(self) -> list[File]:
        """Metadata and licences of every distribution, with their places."""
        files: list[File] = []
        for each in self._found:
            for file in each.files or ():
                folder, _, name = file.as_posix().partition("/")
                is_licence = file.name.upper().startswith(LICENCE_NAMES)
                if folder.endswith(".dist-info") and (name in METADATA or is_licence):
                    files.append(File(file.as_posix(), Path(str(each.locate_file(file)))))
        return files


def components_in(site_packages: Path) -> list[Component]:
    """All distributions of a folder of packages."""
    return sorted(_distribution(each) for each in distributions(path=[str(site_packages)]))


def _normalized(name: str) -> str:
    """One spelling for a distribution's name. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(each: Distribution) -> Component:
    return Component(each.name, each.version, _licence(each.metadata), "pypi")


def _licence(metadata: Any) -> str:
    """What a distribution says of its licence: an SPDX expression, or else words."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = metadata.get_all("Classifier") or []
    names = [line.rpartition(" :: ")[2] for line in said if line.startswith("License :: ")]
    text = str(metadata.get("License") or "")
    return " OR ".join(names) or text.strip().partition("\n")[0] or "unknown"


def _is_library(source: Path) -> bool:
    """Whether it is a shared library, and not Python's own."""
    is_shared = source.suffix == ".so" or ".so." in source.name
    return is_shared and not source.name.startswith("libpython")


def _library(source: Path) -> Component:
    """A library of the system that built it, by its package where that can be told."""
    if dpkg := shutil.which("dpkg-query"):
        # Where /lib is /usr/lib, packages know their files under either name.
        for path in (source, Path("/") / source.relative_to("/usr") if _is_usr(source) else source):
            owner = _said([dpkg, "--search", str(path)]).partition(":")[0]
            if owner:
                version = _said([dpkg, "--show", "--showformat=${Version}", owner])
                return Component(owner, version, "see Debian's copyright file", "deb")
    return Component(source.name, "unknown", "unknown", "generic")


def _is_usr(source: Path) -> bool:
    return source.is_relative_to("/usr")


def _said(argv: list[str]) -> str:
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else ""
