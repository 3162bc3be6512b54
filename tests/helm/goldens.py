"""What the shipped values are rendered to, kept to be read.

`python -m tests.helm.goldens` writes it. A change of a template shows in it as a change of what
people get.
"""

import re
from pathlib import Path

from jan.helm import chart, documents, merging, rendering
from tests.helm import variants

FOLDER = Path(__file__).parent / "golden"
NAMES = ("defaults", *(name.removesuffix(".yaml") for name in variants.SHIPPED))
SECRET = re.compile(r"^(  [a-z-]+: )[A-Za-z0-9+/]{40,}=*$", re.MULTILINE)


def written(name: str) -> str:
    """Render one, without what is random."""
    whole = chart.read(chart.folder())
    files = variants.files(name, FOLDER)
    values = merging.merged(whole, map(documents.one, files))
    found = rendering.render(whole, values, rendering.Release())
    text = "".join(f"---\n# Source: {each.source}\n{_text(each)}\n" for each in found)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _text(manifest: rendering.Manifest) -> str:
    return SECRET.sub(r"\1RANDOM", manifest.text) if manifest.kind == "Secret" else manifest.text


if __name__ == "__main__":
    for each in NAMES:
        (FOLDER / f"{each}.yaml").write_text(written(each), encoding="utf-8")
