"""A folder becomes one file: packed, compressed, and headed by the program that unpacks it.

The same folder gives the same bytes: names are sorted, and owners and times left out.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# The build has an environment of its own.

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from bundles.profile import ROOT

WINDOW_LOG = 25
"""Back to where compression looks for the same bytes: 32 MB. PostgreSQL has libraries twice."""
TARGET = "x86_64-linux-musl"
ELF = b"\x7fELF"


def pack(folder: Path, target: Path, *, name: str, level: int, work: Path) -> None:
    """Write the executable `target`. `name` begins the name of the folder it unpacks to."""
    work.mkdir(parents=True, exist_ok=True)
    payload = work / "payload"
    unpacked_bytes = compress(folder, payload, level)
    digest = hashlib.sha256(payload.read_bytes()).hexdigest()
    (work / "packed_as.zig").write_text(
        f'pub const name = "{name}-{digest[:16]}";\n'
        f'pub const sha256 = "{digest}";\n'
        f"pub const unpacked_bytes = {unpacked_bytes};\n",
        encoding="utf-8",
    )
    _compile(work, payload, target)


def compress(folder: Path, payload: Path, level: int) -> int:
    """Write the archive. Returns its size before compression."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=WINDOW_LOG, threads=-1
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with tempfile.TemporaryFile(dir=payload.parent) as plain:
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or path.is_file():
                    _add(archive, path, path.relative_to(folder).as_posix())
        size = plain.tell()
        plain.seek(0)
        with payload.open("wb") as output:
            compressor.copy_stream(plain, output, size=size)
    return size


def _add(archive: tarfile.TarFile, path: Path, inside: str) -> None:
    """Add a file or a link, without who packed it and when."""
    member = tarfile.TarInfo(inside)
    member.mode = 0o644
    if path.is_symlink():
        member.type = tarfile.SYMTYPE
        member.linkname = str(path.readlink())
        archive.addfile(member)
        return
    with path.open("rb") as file:
        if file.read(len(ELF)) == ELF:
            member.mode = 0o755
        file.seek(0)
        member.size = path.stat().st_size
        archive.addfile(member, file)


def _compile(work: Path, payload: Path, target: Path) -> None:
    """Compile the head with the payload in it."""
    source = _zstd(work)
    options = ["-target", TARGET, "-O", "ReleaseSmall", "-fstrip"]
    cache = ROOT / ".cache" / "zig"
    argv = [
        *(sys.executable, "-m", "ziglang", "build-exe"),
        *(*options, "--dep", "packed_as", "--dep", "payload"),
        *("-cflags", "-Os", "--", source),
        f"-Mroot={ROOT / 'bundles' / 'unpack.zig'}",
        *(*options, f"-Mpacked_as={work / 'packed_as.zig'}"),
        *(*options, f"-Mpayload={payload}"),
        *("-lc", "-static", "-fllvm", "-flld", "--gc-sections"),
        *("--cache-dir", cache, "--global-cache-dir", cache),
        f"-femit-bin={target}",
    ]
    subprocess.run([str(word) for word in argv], check=True)


def _zstd(work: Path) -> Path:
    """Fetch zstd's source, which is in the source distribution of its bindings for Python."""
    found = next(_sources(work), None)
    if found is None:
        argv = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"),
            *("--requirement", str(ROOT / "bundles" / "zstd.lock"), "--dest", str(work)),
        ]
        subprocess.run(argv, check=True)
        with tarfile.open(next(work.glob("zstandard-*.tar.gz"))) as archive:
            archive.extractall(work, filter="data")
        found = next(_sources(work))
    return found


def _sources(work: Path) -> Iterator[Path]:
    return work.glob("zstandard-*/zstd/zstd.c")
