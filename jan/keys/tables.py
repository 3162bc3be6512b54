"""Rows of API keys."""

from piccolo.columns import Array, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_key_id() -> str:
    """Make the id that a key is called by; it is no secret."""
    return ids.new("key")


class ApiKey(Table, tablename="api_key"):
    """A credential. The key itself is shown once and never stored."""

    id = Varchar(length=40, primary_key=True, default=new_key_id)
    name = Varchar(length=200, help_text="What it is for, in its owner's words.")
    kind = Text(help_text="`admin`, `organization`, `project`, `service` or `ephemeral`.")
    organization_id = Varchar(length=40, null=True, default=None)
    project_id = Varchar(length=40, null=True, default=None)
    user_id = Varchar(length=40, null=True, default=None, help_text="Its owner. Null: Jan's own.")
    service_account_id = Varchar(length=40, null=True, default=None)
    scopes = Array(Text(), null=True, default=None, help_text="Null: all of its kind.")
    allowed_models = Array(Text(), null=True, default=None, help_text="Null: all.")
    digest = Varchar(length=64, unique=True, help_text="HMAC-SHA256 of the key, in hex.")
    hint = Varchar(length=8, help_text="Last characters, so that a person can tell keys apart.")
    created_at = Timestamptz(default=clock.now)
    expires_at = Timestamptz(null=True, default=None, help_text="Null: it does not expire.")
    revoked_at = Timestamptz(null=True, default=None, help_text="Null while the key works.")
    last_used_at = Timestamptz(null=True, default=None, help_text="To the minute or so.")
