"""How full each bucket is."""

from piccolo.columns import Text, Timestamptz
from piccolo.table import Table


class Bucket(Table, tablename="bucket"):
    """What a limit is counted with. One that is full may have no row."""

    name = Text(primary_key=True, help_text="The limit, and whose it is.")
    full_at = Timestamptz(help_text="When it is full again, if nothing is taken until then.")
