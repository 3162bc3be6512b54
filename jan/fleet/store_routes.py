"""`/v1/admin/store`: the model store of this node, which other Jans copy from."""

import re
from pathlib import Path
from typing import Any

from litestar import Request, Response, Router, get
from litestar.params import FromPath
from litestar.response import Stream

from jan.caller import Caller
from jan.errors import NotFound, RangeNotSatisfiable
from jan.fleet import stored
from jan.fleet.stored import StoredModels
from jan.guards import caller_of, requires
from jan.permissions import Scope

FROM = re.compile(r"bytes=(\d{1,18})-")
"""The one range that is of use here: the rest. Others are answered with all of it, as RFC 9110,
section 14.2, allows."""

Asked = Request[Caller, Any, Any]


def router(home: Path) -> Router:
    """Make the routes."""

    @get("/models", operation_id="list_stored_models")
    async def list_stored_models(request: Asked) -> StoredModels:
        """List the models in the store of the node that answers."""
        return await stored.page(caller_of(request), home)

    @get("/models/{name:path}", operation_id="get_stored_model")
    async def get_stored_model(request: Asked, name: FromPath[str]) -> Response[bytes]:
        """Tell what a stored model consists of: its files, their sizes and SHA-256."""
        manifest = await stored.manifest(caller_of(request), home, name.removeprefix("/"))
        return Response(manifest, media_type="application/json")

    @get("/files/{sha256:str}", operation_id="get_stored_file")
    async def get_stored_file(request: Asked, sha256: FromPath[str]) -> Stream:
        """Send a file by its SHA-256; with `Range: bytes=N-`, the rest of it."""
        found = await stored.content(caller_of(request), home, sha256)
        said = FROM.fullmatch(request.headers.get("range", ""))
        begin = int(said[1]) if said else 0
        if said and begin >= found.size_bytes:
            raise RangeNotSatisfiable(f"The file has {found.size_bytes} bytes.")
        try:
            file = found.path.open("rb")  # at once: the model may be removed meanwhile
        except FileNotFoundError:
            raise NotFound("There is no such file in the model store.") from None
        file.seek(begin)
        length = found.size_bytes - begin
        headers = {"content-length": str(length), "etag": f'"{sha256}"', "accept-ranges": "bytes"}
        if said:
            headers["content-range"] = f"bytes {begin}-{found.size_bytes - 1}/{found.size_bytes}"
        return Stream(
            stored.read(file, length),
            status_code=206 if said else 200,
            media_type="application/octet-stream",
            headers=headers,
        )

    return Router(
        "/v1/admin/store",
        route_handlers=[list_stored_models, get_stored_model, get_stored_file],
        guards=[requires(Scope.PLATFORM_ADMIN)],
        tags=["Fleet"],
    )
