"""What Dockerfiles say is sound to a linter, and to rules of our own."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.images.conftest import ROOT

FILES = sorted((ROOT / "images").glob("*.Dockerfile"))
LABELS = ("title", "description", "licenses", "version", "revision", "base.name")
DIFFERENT = {"LABEL", "EXPOSE"}
"""By what images differ, beside how what is in them was unpacked."""

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def instructions(file: Path) -> list[tuple[str, str]]:
    """Read the lines that do something."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def last_stage(file: Path) -> list[tuple[str, str]]:
    """Read what makes the image itself."""
    found = instructions(file)
    begin = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[begin:]


@each_file
def test_the_linter_finds_nothing(file: Path, hadolint: Path) -> None:
    labels = [f"--require-label=org.opencontainers.image.{name}:text" for name in LABELS]

    done = subprocess.run(
        [hadolint, "--failure-threshold=style", "--strict-labels", *labels, file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


@each_file
def test_the_base_has_a_version_and_can_be_pinned(file: Path) -> None:
    first, *others = instructions(file)

    assert re.fullmatch(r"BASE=debian:\d+-slim", first[1])
    assert {said for name, said in others if name == "FROM"} == {"${BASE} AS unpacked", "${BASE}"}


@each_file
def test_nothing_is_fetched_or_run_into_the_image(file: Path) -> None:
    """What is copied is the same each time; what is fetched need not be."""
    assert "ADD" not in {name for name, _ in instructions(file)}
    assert {"RUN", "SHELL"} & {name for name, _ in last_stage(file)} == set()
    assert not re.search(r"apt-get|curl|wget|pip ", file.read_text(encoding="utf-8"))


@each_file
def test_it_needs_no_shell_to_run(file: Path) -> None:
    said = dict(last_stage(file))

    assert said["USER"] == "10001:10001"  # a number, or Kubernetes can't tell that it is not root
    assert said["ENTRYPOINT"].startswith("[")
    assert said["CMD"].startswith("[")
    assert "CMD [" in said["HEALTHCHECK"]


def test_images_are_alike_but_for_what_was_unpacked() -> None:
    stages = [[each for each in last_stage(file) if each[0] not in DIFFERENT] for file in FILES]

    assert len(stages) > 1
    assert all(stage == stages[0] for stage in stages)
