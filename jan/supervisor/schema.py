"""What is done to the database once it answers: migrations, owners, the first way in."""

from contextlib import suppress

import structlog

from jan.auth import owners
from jan.auth.codes import Codes
from jan.db import dsn, opening
from jan.db import prepare as database
from jan.db.engine import connect
from jan.errors import Conflict
from jan.fleet import configured
from jan.fleet.credentials import ProviderKeys
from jan.keyring import Keyring
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from jan.pages import Wanted
from jan.settings import Settings
from jan.supervisor.board import Board

PART = "schema"
FIRST_KEY_NAME = "first key"

log = structlog.get_logger()


async def prepare(settings: Settings, secrets: Keyring, board: Board, *, url: str) -> None:
    """Bring the schema up to date, say which model server the settings name, see who owns this Jan.

    The link for the first owner, and the first key, are made where a person can see them. `url` is
    where Jan is reached.

    Raises:
        DatabaseUnavailable: it does not answer (any more).
        Misconfigured: the database is newer than this program, or is not Jan's.
    """
    board.working(PART, "migrating")
    async with connect(
        dsn.resolve_owner(settings, secrets), pool_size=1, application_name="jan serve"
    ) as owner:
        ran = await database.prepare(settings, secrets, owner)
    async with opening.database(settings, secrets, pool_size=1, application_name="jan serve"):
        await configured.write(settings, ProviderKeys(secrets.api_key_secret), is_alone=False)
        if appointed := await owners.appoint(settings.organization_admin_emails):
            log.info("owners were appointed", part=PART, count=len(appointed))
        if not await owners.is_owned():
            await _invite_owner(secrets, board, url)
        operator = await access.operator()
        if not (await keys.page(operator, Wanted(limit=1))).data:
            key = None
            if board.has_reader:
                wanted = KeyCreate(name=FIRST_KEY_NAME)
                new = await keys.create(operator, wanted, hmac_secret=secrets.api_key_secret)
                key = new.secret
            board.first_key(key)
    board.ready(PART, f"{len(ran)} migrations ran" if ran else "up to date")


async def _invite_owner(secrets: Keyring, board: Board, url: str) -> None:
    """Show the link for the first owner: the only time, and a new one at each start."""
    link = None
    if board.has_reader:
        with suppress(Conflict):  # somebody has become the owner just now
            link = await owners.link(codes=Codes(secrets.api_key_secret), url=url)
    board.setup_link(link)
