"""Models from the Hugging Face hub, or from another that speaks its language (`HF_ENDPOINT`)."""

import fcntl
import shutil
import sys
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

from jan.errors import Conflict, InvalidRequest, NotFound, Unavailable
from jan.runner import sizes, store
from jan.runner.progress import Report
from jan.runner.store import Model

TIMEOUT_S = 10.0
IGNORED = (
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.tflite"),
    *("original/*", "metal/*", "onnx/*", "openvino/*", ".gitattributes", "*.md", "*.png", "*.jpg"),
)
"""Second copies of the weights in other forms, and what only people read."""


def pull(home: Path, hub_id: str, *, revision: str | None, report: Report) -> Model:
    """Download a model into the store under its id. What is there already is not fetched again.

    Raises:
        NotFound: the hub has no such model, or not for this token.
        Unavailable: the hub can't be reached.
        InvalidRequest: vLLM could not load it.
        Conflict: there is a model of that name, or it is being pulled now.
    """
    store.require_free(home, hub_id)
    draft = store.staging(home, hub_id)
    with draft.with_name(f"{draft.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another process is pulling `{hub_id}`.") from None
        try:
            return _pull(home, hub_id, revision, draft, report)
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


def _pull(home: Path, hub_id: str, revision: str | None, draft: Path, report: Report) -> Model:
    if not sys.stderr.isatty():
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
    sizes.require_free(draft, size_bytes - sizes.of_folder(draft), f"`{hub_id}`")
    report(f"Downloading {hub_id}, {sizes.in_words(size_bytes)}", None)
    snapshot_download(
        hub_id,
        revision=info.sha,
        local_dir=draft,
        ignore_patterns=list(IGNORED),
        etag_timeout=TIMEOUT_S,
    )
    shutil.rmtree(draft / ".cache", ignore_errors=True)  # the hub client's own notes
    report("Checking", None)
    return store.keep(home, hub_id, draft, source=hub_id, revision=info.sha)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
