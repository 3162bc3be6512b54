"""What the HTTP servers of a process have in common: uvicorn's options for them."""

from typing import Any

import uvicorn


def config(app: Any, **options: Any) -> uvicorn.Config:
    """Have an app served that knows no lifespan and no WebSockets.

    The server tells nothing of itself and logs no request; who may speak for a client is the app's
    to decide. `options` are uvicorn's.
    """
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        **options,
    )
