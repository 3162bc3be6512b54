"""Documents are true: what they name exists, and what exists is named."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from jan.cli.main import COMMANDS
from jan.metrics import names

ROOT = Path(__file__).parents[2]
METRIC = re.compile(
    r"\b(?:jan_(?:gateway|usage|database|jobs|event|engine|build)_\w+|gen_ai_(?:server|client)_\w+)"
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _generator() -> dict[str, str]:
    sys.path.insert(0, str(ROOT / "docs"))  # as for a program that is run there
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: page() for name, page in module.PAGES.items()}


@pytest.mark.parametrize(("name", "text"), _generator().items(), ids=lambda value: value[:16])
def test_a_generated_page_is_what_the_code_says(name: str, text: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, "run `just docs`"


def test_every_metric_that_is_named_anywhere_is_one_that_jan_tells() -> None:
    places = [*ROOT.glob("helm/**/*"), *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
    known = {each.name for each in names.ALL}
    known |= {
        each.name + suffix
        for each in names.ALL
        for suffix in ("_bucket", "_count", "_sum")
        if each.kind == "histogram"
    }
    said = {
        word
        for place in places
        if place.is_file()
        for word in METRIC.findall(place.read_text(encoding="utf-8"))
    }

    assert said - known == set()
    assert {each.name for each in names.ALL} <= said


def test_every_command_is_in_the_readme() -> None:
    table = README.partition("## Commands")[2]

    assert [name for name in COMMANDS if f"`jan {name}" not in table] == []


def test_every_folder_is_in_the_map() -> None:
    text = (ROOT / "jan/README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "jan").glob("*/__init__.py")}

    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == folders


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "jan/README.md"],
    ids=lambda page: page.name,
)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_first_two_shell_blocks_of_the_readme_are_one_line_each() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

    assert [block.count("\n") for block in blocks[:2]] == [1, 1]
    assert "just serve" in blocks[0]
    assert "just test" in blocks[1]


def test_lock_files_name_no_registry() -> None:
    folders = ("bundles", "tests")
    locks = [
        *ROOT.glob("*.lock"),
        *(lock for name in folders for lock in ROOT.glob(f"{name}/**/*.lock")),
    ]

    assert locks
    assert [lock.name for lock in locks if "://" in lock.read_text(encoding="utf-8")] == []
