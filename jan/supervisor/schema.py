"""What is done to the database once it answers: migrations, and a look at the keys."""

from jan.db import dsn
from jan.db import prepare as database
from jan.db.engine import connect
from jan.keyring import Keyring
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from jan.pages import Wanted
from jan.settings import Settings
from jan.supervisor.board import Board

PART = "schema"
FIRST_KEY_NAME = "first key"


async def prepare(settings: Settings, secrets: Keyring, board: Board) -> None:
    """Bring the schema up to date; make the first key where a person can see it.

    Raises:
        DatabaseUnavailable: it does not answer (any more).
        Misconfigured: the database is newer than this program, or is not Jan's.
    """
    board.working(PART, "migrating")
    async with connect(
        dsn.resolve_owner(settings, secrets), pool_size=1, application_name="jan serve"
    ) as owner:
        ran = await database.prepare(settings, secrets, owner)
    async with connect(dsn.resolve(settings, secrets), pool_size=1, application_name="jan serve"):
        operator = await access.operator()
        if not (await keys.page(operator, Wanted(limit=1))).data:
            key = None
            if board.has_reader:
                wanted = KeyCreate(name=FIRST_KEY_NAME)
                new = await keys.create(operator, wanted, hmac_secret=secrets.api_key_secret)
                key = new.secret
            board.first_key(key)
    board.ready(PART, f"{len(ran)} migrations ran" if ran else "up to date")
