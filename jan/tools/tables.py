"""What search providers answered lately."""

from piccolo.columns import Bytea, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table


class ToolAnswer(Table, tablename="tool_answer"):
    """One answer, known by a digest of what was asked. Nobody's in particular."""

    key = Varchar(
        length=64, primary_key=True, help_text="SHA-256 of provider and question, in hex."
    )
    provider = Text()
    answer = Bytea(help_text="JSON, without the question.")
    size_bytes = Integer()
    created_at = Timestamptz()
    expires_at = Timestamptz()
