"""The database as the settings have it, for the role that requests run as."""

from jan.db import dsn
from jan.db.engine import Database, connect
from jan.keyring import Keyring
from jan.settings import Settings


def database(
    settings: Settings,
    secrets: Keyring,
    *,
    application_name: str,
    pool_size: int | None = None,
    reads_replicas: bool = False,
) -> Database:
    """Put it together. Nothing is connected yet. Raises as the functions of `jan.db.dsn`."""
    return connect(
        dsn.resolve(settings, secrets),
        direct_dsn=dsn.resolve_direct(settings),
        pool_size=pool_size or settings.database_pool_size,
        wait_s=settings.database_wait_s,
        application_name=application_name,
        read_from=dsn.resolve_reads(settings) if reads_replicas else (),
        read_pool_size=settings.database_read_pool_size,
        max_lag_s=settings.database_read_max_lag_s,
    )
