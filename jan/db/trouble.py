"""What goes wrong between us and PostgreSQL, in the one word that the rest of Jan knows."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from jan.errors import DatabaseUnavailable, Misconfigured

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # used between the server's last word and the end of the socket
)
"""What PostgreSQL and its driver say when the server goes, comes, or is full."""
UNREACHED = (
    *LOST,
    OSError,  # TimeoutError too
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""What goes wrong before there is a connection."""
TROUBLE = (*UNREACHED, asyncpg.PostgresError, asyncpg.InterfaceError)
"""Whatever it is, for a statement that is always the same: it is not the statement's fault."""


@contextmanager
def explained(kinds: tuple[type[Exception], ...]) -> Generator[None]:
    """Turn connection trouble into the error that the rest of Jan knows."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise Misconfigured(
            f"A database's address can't be used: {error}.",
            hint="Look at the settings `database_url` and `database_read_urls`.",
        ) from None
    except (*kinds, asyncpg.InterfaceError) as error:
        # The driver's word for a closed connection or pool is also the one for our own mistakes.
        if (
            isinstance(error, asyncpg.InterfaceError)
            and asyncpg.InterfaceError not in kinds
            and "clos" not in str(error)
        ):
            raise
        raise DatabaseUnavailable(
            f"The database does not answer ({_reason(error)}).", retry_after_s=1
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
