"""Rules about the code that no linter knows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

JAN = Path(__file__).parents[2] / "jan"
MODULES = sorted(path for path in JAN.rglob("*.py") if path.name != "__init__.py")

MAX_LINES = 400
FORBIDDEN_NAMES = {"utils", "common", "helpers", "core", "lib", "base", "manager", "misc"}
KNOWS_THE_ENVIRONMENT = {
    "settings.py",
    "sources.py",  # the one place; what it hands on to others holds nothing of ours
    "cli/main.py",  # shell completion speaks through a variable
    "owner.py",  # leaves root's folders; reads where JAN_HOME is before the settings can be read
    "interpreter.py",  # stands for Python, which has variables of its own; reads none of Jan's
    "db/engine.py",  # Piccolo is told by one where its configuration is; none is read
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}

SERVICES = [
    *JAN.glob("*/service.py"),
    *JAN.glob("*/members.py"),
    *JAN.glob("*/accounts.py"),
    *JAN.glob("*/contents.py"),
]
"""Where the rules of the things in a folder are."""

UNSCOPED = {"authenticate"}  # runs before there is a caller. Adding one is a security decision.


def _name(path: Path) -> str:
    return path.relative_to(JAN).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_short_and_named_for_a_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    """A variable read elsewhere is in no reference, and may hand our secrets to somebody."""
    said = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names_of_os(node)
    }

    assert bool(said & ENVIRONMENT) == (_name(path) in KNOWS_THE_ENVIRONMENT)


def _names_of_os(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return {node.attr} if node.value.id == "os" else set()
    if isinstance(node, ast.ImportFrom) and node.module == "os":
        return {alias.name for alias in node.names}
    return set()


@pytest.mark.parametrize("path", sorted(JAN.rglob("__init__.py")), ids=_name)
def test_an_init_file_is_empty(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("path", sorted(SERVICES), ids=_name)
def test_every_service_function_knows_who_is_calling(path: Path) -> None:
    """Without a caller a query cannot be narrowed to a project: that is how tenants leak."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            first = node.args.args[0].arg if node.args.args else ""
            assert first == "caller" or node.name in UNSCOPED, f"{path.parent.name}.{node.name}"


def test_help_loads_nothing_heavy() -> None:
    heavy = {"litestar", "piccolo", "pydantic", "textual", "rich", "vllm", "asyncpg", "httpx"}
    program = (
        "import sys\nsys.argv = ['jan', '--help']\nfrom jan.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert "Usage: jan" in run.stdout
    assert heavy.isdisjoint(run.stderr.split())
