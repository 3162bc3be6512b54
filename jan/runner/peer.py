"""Models from another Jan's store: `jan://host[:port]/name`, over https.

What comes is checked against the manifest that the other one sends, file by file and as it comes;
what has come so far is kept, and the same command goes on from there.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import httpx

from jan.errors import Forbidden, InvalidRequest, NotFound, Unavailable
from jan.runner import sizes, store
from jan.runner.progress import Report
from jan.runner.store import File, Model

SCHEMES = {"jan": "https", "jan+http": "http"}
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
REFUSED = frozenset({401, 403})
NOT_FOUND = 404
PARTIAL = 206
TIMEOUT_S = 30.0
"""Of silence."""


def is_meant(address: str) -> bool:
    """Whether an address is one of these."""
    return address.partition("://")[0] in SCHEMES


def name_of(address: str) -> str:
    """Tell under which name a model of such an address is kept. Raises InvalidRequest."""
    return _read(address)[1]


def pull(  # noqa: PLR0913 - as many as there is to say
    home: Path,
    address: str,
    key: str | None,
    report: Report,
    *,
    name: str | None = None,
    max_bytes: int | None = None,
) -> Model:
    """Copy a model of another Jan into the store. `key` is an admin key of that one.

    Raises:
        InvalidRequest: that is no such address, or what comes is not what was announced.
        NotFound: it has no such model.
        Forbidden: the key does not open its store.
        Unavailable: it can't be reached, or broke off.
        Conflict: the name is taken, or another process fetches it.
        Misconfigured: there is no room for it.
    """
    base, theirs = _read(address)
    # As they are: what is compressed may be any length.
    headers = {"accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S) as client:
            announced = _manifest(client, theirs)
            name = store.checked(name or announced.name)
            with store.drafting(home, name) as draft:
                _clear(draft, announced)
                needed_bytes = announced.size_bytes - sizes.of_folder(draft)
                store.require_room(home, needed_bytes, f"`{name}`", max_bytes)
                words = f"Fetching {theirs}, {sizes.in_words(announced.size_bytes)}"
                done_bytes, whole_bytes = 0, max(1, announced.size_bytes)

                def tell(have_bytes: int) -> None:
                    report(words, min(1.0, (done_bytes + have_bytes) / whole_bytes))

                for path, file in announced.files.items():
                    _fetch(client, draft / path, file, tell)
                    done_bytes += file.size_bytes
                    tell(0)
                return store.keep(
                    home,
                    name,
                    draft,
                    source=f"{address.partition('://')[0]}://{urlsplit(address).netloc}/{theirs}",
                    revision=announced.revision,
                    note=announced.note,
                    files=announced.files,
                )
    except (httpx.InvalidURL, UnicodeError):  # a host that can't be one
        raise _no_address(address) from None
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Can't fetch `{theirs}` from {base}: {error or type(error).__name__}.",
            hint="What came so far is kept: the same command goes on from there.",
        ) from None
    except OSError as error:  # the disk is full, for one
        raise Unavailable(f"`{theirs}` can't be kept: {error.strerror or error}.") from None


def _read(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        is_address, parts = False, None
    name = unquote(parts.path.strip("/")) if parts else ""
    if not is_address or parts is None or not name or "@" in parts.netloc or parts.query:
        raise _no_address(address)
    return f"{SCHEMES[parts.scheme]}://{parts.netloc}", store.checked(name)


def _no_address(address: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{address}` is no address of a model.", hint="Write `jan://host[:port]/name`."
    )


def _manifest(client: httpx.Client, name: str) -> Model:
    with client.stream("GET", f"/v1/admin/store/models/{quote(name)}") as answer:
        _require(answer, f"model `{name}`")
        data = b""
        for chunk in answer.iter_raw():
            data += chunk
            if len(data) > MAX_MANIFEST_BYTES:
                raise InvalidRequest("The manifest of the model is too long.")
    announced = store.read_manifest(data)
    if announced.name != name:
        raise InvalidRequest("The other Jan sent the manifest of another model.")
    return announced


def _clear(draft: Path, announced: Model) -> None:
    """Throw away what an earlier attempt left that is no part of this model."""
    wanted = {draft / path for path in announced.files}
    for path in draft.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def _fetch(client: httpx.Client, path: Path, file: File, tell: Callable[[int], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    have_bytes = 0
    if path.exists():
        with path.open("rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                digest.update(chunk)
                have_bytes += len(chunk)
    if have_bytes > file.size_bytes:
        have_bytes, digest = 0, hashlib.sha256()
    if have_bytes < file.size_bytes or not file.size_bytes:
        headers = {"range": f"bytes={have_bytes}-"} if have_bytes else {}
        with client.stream(
            "GET", f"/v1/admin/store/files/{file.sha256}", headers=headers
        ) as answer:
            _require(answer, f"file `{path.name}`")
            if have_bytes and answer.status_code != PARTIAL:
                have_bytes, digest = 0, hashlib.sha256()
            with path.open("ab" if have_bytes else "wb") as written:
                for chunk in answer.iter_raw(CHUNK_BYTES):
                    have_bytes += len(chunk)
                    if have_bytes > file.size_bytes:
                        raise InvalidRequest(f"`{path.name}` is longer than it was announced.")
                    digest.update(chunk)
                    written.write(chunk)
                    tell(have_bytes)
    if have_bytes < file.size_bytes:
        raise httpx.RemoteProtocolError(f"`{path.name}` broke off")
    if digest.hexdigest() != file.sha256:
        path.unlink()
        raise InvalidRequest(f"`{path.name}` came damaged. The same command fetches it again.")


def _require(answer: httpx.Response, what: str) -> None:
    if answer.is_success:
        return
    if answer.status_code in REFUSED:
        raise Forbidden(
            "The other Jan does not open its store to this key.",
            hint="Set JAN_ADMIN_KEY to an admin key of its default organization.",
        )
    if answer.status_code == NOT_FOUND:
        raise NotFound(f"The other Jan has no {what}.")
    raise Unavailable(f"The other Jan answered with status {answer.status_code}.")
