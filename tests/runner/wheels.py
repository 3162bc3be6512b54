"""Wheels of a few bytes, and bundles that lock them."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from jan.runner.bundles import Bundle

VLLM = {"vllm/__init__.py": "__version__ = '1.0'\n"}


def build(
    folder: Path, name: str, version: str = "1.0", files: Mapping[str, str] | None = None
) -> Path:
    """Write a wheel of that content, by default one module of the distribution's name."""
    files = {f"{name}.py": "answer = 42\n"} if files is None else files
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(inside, text)
    return path


def lock(folder: Path, *wheels: Path, installed_bytes: int = 1000) -> Bundle:
    """Write a bundle `tiny` that holds exactly these wheels, vLLM's among them."""
    folder = folder / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    (folder / "engine.lock").write_text("".join(lines))
    (folder / "bundle.toml").write_text(
        '[engine]\npackage = "vllm"\nversion = "1.0"\npython = "3.11"\n'
        f"download_bytes = 100\ninstalled_bytes = {installed_bytes}\n"
    )
    return Bundle.read(folder)
