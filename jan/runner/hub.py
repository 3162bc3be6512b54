"""Models from the Hugging Face hub, or from another that speaks its language (`HF_ENDPOINT`)."""

import shutil
import threading
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, filter_repo_objects

from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.runner import sizes, store
from jan.runner.progress import Report
from jan.runner.store import File, Model

TIMEOUT_S = 10.0
WATCH_EVERY_S = 0.5
IGNORED = (
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.tflite"),
    *("original/*", "metal/*", "onnx/*", "openvino/*", "*.md", "*.png", "*.jpg", ".*", "*/.*"),
)
"""Second copies of the weights in other forms, what only people read, and what is hidden."""


def pull(
    home: Path,
    hub_id: str,
    *,
    revision: str | None,
    report: Report,
    max_bytes: int | None = None,
) -> Model:
    """Download a model into the store under its id. What is there already is not fetched again.

    Raises:
        NotFound: the hub has no such model, or not for this token.
        Unavailable: the hub can't be reached.
        InvalidRequest: vLLM could not load it.
        Conflict: there is a model of that name, or it is being pulled now.
        Misconfigured: there is no room for it.
    """
    with store.drafting(home, hub_id) as draft:
        try:
            return _pull(home, hub_id, revision, draft, report, max_bytes)
        except GatedRepoError:
            raise NotFound(
                f"`{hub_id}` is only for those whom its owner has accepted.",
                hint="Ask for access on the hub, then set HF_TOKEN to a token of yours.",
            ) from None
        except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
            at = f" at `{revision}`" if revision else ""
            raise NotFound(
                f"{constants.ENDPOINT} has no model `{hub_id}`{at}, or none that you may see.",
                hint="Check the spelling; for a private model set HF_TOKEN.",
            ) from None
        except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
            raise Unavailable(
                f"Can't fetch `{hub_id}` from {constants.ENDPOINT}: {_first_line(error)}",
                hint="What came so far is kept: the same command goes on from there. Without a "
                "network, copy the model here and use `jan model add FOLDER`.",
            ) from None


def _pull(  # noqa: PLR0913, PLR0917 - as `pull`
    home: Path,
    hub_id: str,
    revision: str | None,
    draft: Path,
    report: Report,
    max_bytes: int | None,
) -> Model:
    disable_progress_bars()
    info = HfApi().model_info(hub_id, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    files = list(
        filter_repo_objects(
            info.siblings or (), ignore_patterns=list(IGNORED), key=lambda file: file.rfilename
        )
    )
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise InvalidRequest(f"`{hub_id}` has no weights in safetensors files.")
    size_bytes = sum(file.size or 0 for file in files)
    _clear(draft, {draft / file.rfilename for file in files})
    store.require_room(home, size_bytes - sizes.of_folder(draft), f"`{hub_id}`", max_bytes)
    words = f"Downloading {hub_id}, {sizes.in_words(size_bytes)}"
    with _watched(draft, size_bytes, lambda share: report(words, share)):
        snapshot_download(
            hub_id,
            revision=info.sha,
            local_dir=draft,
            ignore_patterns=list(IGNORED),
            etag_timeout=TIMEOUT_S,
        )
    shutil.rmtree(draft / ".cache", ignore_errors=True)  # the hub client's own notes
    report("Checking", None)
    read = store.read_files(draft)
    _check(draft, read, {file.rfilename: file.lfs.sha256 for file in files if file.lfs})
    return store.keep(home, hub_id, draft, source=hub_id, revision=info.sha, files=read)


def _clear(draft: Path, wanted: Collection[Path]) -> None:
    """Throw away what an attempt at another revision has left. The client's notes are its own.

    Halves of files that a killed client left go too: it never takes them up again.
    """
    for path in draft.rglob("*"):
        is_note = ".cache" in path.relative_to(draft).parts and path.suffix != ".incomplete"
        if path.is_file() and path not in wanted and not is_note:
            path.unlink()


def _check(draft: Path, read: Mapping[str, File], announced: Mapping[str, str]) -> None:
    """See that each file is the one that the hub has: what is not is thrown away.

    Raises:
        Unavailable: one is not.
    """
    for name, sha256 in announced.items():
        if read[name].sha256 == sha256:
            continue
        (draft / name).unlink()
        raise Unavailable(
            f"`{name}` came damaged: it is not what the hub has.",
            hint="The same command fetches that file again.",
        )


@contextmanager
def _watched(folder: Path, whole_bytes: int, report: Callable[[float], None]) -> Generator[None]:
    """Tell which share of a folder's bytes is there, now and then, during the block."""
    is_over = threading.Event()

    def watch() -> None:
        report(0.0)
        while not is_over.wait(WATCH_EVERY_S):
            report(min(1.0, sizes.of_folder(folder) / max(1, whole_bytes)))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
