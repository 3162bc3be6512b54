"""What carries out calls of tools, as the settings have it, for every process that has any made."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from jan.db.engine import Database
from jan.keyring import Keyring
from jan.limits.buckets import Buckets
from jan.net.guard import Guard
from jan.net.policy import Policy
from jan.responses.carrying import Carriers
from jan.settings import Settings
from jan.tools import means
from jan.tools.local import Local
from jan.tools.page import PageReader
from jan.tools.servers import Servers
from jan.usage.schemas import ToolCallRow
from jan.valkey.memory import Memory


@asynccontextmanager
async def opened(  # noqa: PLR0913, PLR0917 - what the process has open
    settings: Settings,
    secrets: Keyring,
    guard: Guard,
    database: Database,
    memory: Memory | None,
    record: Callable[[ToolCallRow], None],
) -> AsyncGenerator[Carriers]:
    """Put it together, and close its connections at the end. `record` takes a row of each call."""
    local = Local(PageReader(guard))
    buckets = Buckets(database, memory)
    async with means.opened(settings, local, buckets, record, memory) as toolbox:
        registered = Servers(Policy.configured(settings), secrets.api_key_secret)
        yield Carriers(toolbox, guard, registered)
