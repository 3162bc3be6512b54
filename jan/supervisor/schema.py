"""What is done to the database once it answers: migrations, and a look at the keys."""

from jan.caller import Caller
from jan.db import dsn, migrate
from jan.db.engine import connect
from jan.keyring import Keyring
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
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
    url = dsn.resolve(settings, secrets)
    async with connect(url, pool_size=1, application_name="jan serve") as database:
        ran = await migrate.up(database)
        operator = Caller.operator()
        if not await keys.page(operator):
            key = None
            if board.has_reader:
                wanted = KeyCreate(FIRST_KEY_NAME)
                new = await keys.create(operator, wanted, hmac_secret=secrets.api_key_secret)
                key = new.secret
            board.first_key(key)
    board.ready(PART, f"{len(ran)} migrations ran" if ran else "up to date")
