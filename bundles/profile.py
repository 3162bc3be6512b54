"""Profiles: what goes into an executable, as the `[executable]` table of its `bundle.toml` says.

Files are listed, never imported: a package that can't be imported here may be wanted there.
"""

import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Self

from jan.interpreter import LENT

ROOT = Path(__file__).parent.parent


class File(NamedTuple):
    """A file and its place in the executable."""

    inside: str
    source: Path


@dataclass(frozen=True)
class Profile:
    """What goes into one executable. The attributes are explained in `bundles/gateway`."""

    name: str
    files: Sequence[str]
    packages: Sequence[str]
    packages_without: Sequence[str]
    modules: Sequence[str]
    opaque: Sequence[str]
    without: Sequence[str]
    libraries: Sequence[str]
    programs: Sequence[str]
    standard_library_without: Sequence[str]
    exclude: Sequence[str]
    carries: Sequence[str] = ()
    carried_without: Sequence[str] = ()
    carried_stripped: Sequence[str] = ()

    @classmethod
    def read(cls, name: str) -> Self:
        """Read the profile that is `bundles/<name>`.

        Raises:
            SystemExit: there is none.
        """
        path = ROOT / "bundles" / name / "bundle.toml"
        data = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        said = data.get("executable")
        if said is None:
            raise SystemExit(f"error: {path} describes no executable.")
        if base := said.pop("base", None):
            return replace(cls.read(base), name=name, **said)
        return cls(name=name, **said)

    def shipped_files(self) -> list[File]:
        """Files of the checkout that are no code.

        Raises:
            SystemExit: a pattern matches none, so something was moved.
        """
        found: dict[str, Path] = {}
        for pattern in self.files:
            paths = [path for path in ROOT.glob(pattern) if path.is_file()]
            if not paths:
                raise SystemExit(f"error: bundles/{self.name}: nothing matches {pattern!r}.")
            found |= {path.relative_to(ROOT).as_posix(): path for path in paths}
        return [File(inside, found[inside]) for inside in sorted(found)]

    def opaque_files(self, site_packages: Path) -> list[File]:
        """Files of the environment that nothing looks into."""
        files = [File(f"bin/{name}", Path(sys.prefix) / "bin" / name) for name in self.programs]
        for name in self.opaque:
            place = site_packages / name
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                inside = path.relative_to(site_packages).as_posix()
                if path.is_file():
                    files.append(File(inside, path))
        return files

    def header_files(self) -> list[File]:
        """Python's headers, where `sysconfig` says they are: Triton compiles with them."""
        folder = Path(sysconfig.get_path("include"))
        place = Path("include") / folder.name
        return [
            File((place / path.relative_to(folder)).as_posix(), path)
            for path in sorted(folder.rglob("*.h"))
        ]

    def library_files(self, find: Callable[[str], str | None]) -> list[File]:
        """Libraries of this system, of which `find` tells the path by name.

        Raises:
            SystemExit: it lacks one.
        """
        files: list[File] = []
        for name in self.libraries:
            path = find(name)
            if path is None:
                raise SystemExit(f"error: this system has no {name}, which engines need.")
            files.append(File(f"{LENT}/{name}", Path(path)))
        return files

    def leaves_out(self, inside: str) -> bool:
        """Whether a file, by its place, stays out though something asks for it."""
        return matches(inside, self.without)

    def hidden_imports(self, site_packages: Path) -> list[str]:
        """Modules that must be there though no import statement names them."""
        names = [*self.modules, *standard_library(self.standard_library_without)]
        for package in self.packages:
            base = ROOT if package.partition(".")[0] == "jan" else site_packages
            names += _modules_of(package, base)
        return [name for name in names if not _is_below(name, self.packages_without)]


def standard_library(without: Sequence[str]) -> list[str]:
    """All modules of this Python's standard library but those, and what tests its packages hold."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = [name for name in sorted(sys.stdlib_module_names) if find_spec(name)]
    for package in [name for name in names if (folder / name).is_dir()]:
        names += _modules_of(package, folder)
    # What `sysconfig` reads its answers from; its name tells the platform.
    names.append(sysconfig._get_sysconfigdata_name())  # pyright: ignore[reportAttributeAccessIssue]
    return [name for name in names if not _is_below(name, without) and ".test" not in name]


def _modules_of(package: str, base: Path) -> Iterator[str]:
    """The package itself and every module below it."""
    for path in sorted((base / package.replace(".", "/")).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_below(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def matches(inside: str, patterns: Sequence[str]) -> bool:
    """Whether a place in a folder is one of those that are named. `*` stands for `/` too."""
    return any(fnmatch(inside, pattern) for pattern in patterns)
