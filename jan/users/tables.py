"""Rows of users."""

from piccolo.columns import Boolean, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_user_id() -> str:
    """Make a user's id."""
    return ids.new("user")


class User(Table, tablename="users"):
    """A person. A guest is one too, and becomes a registered one in place."""

    id = Varchar(length=40, primary_key=True, default=new_user_id)
    email = Varchar(length=255, unique=True, help_text="In lower case. A guest's is made up.")
    name = Varchar(length=100, default="")
    is_guest = Boolean(default=False)
    is_enabled = Boolean(default=True, help_text="False: nothing of theirs works, at once.")
    is_email_proven = Boolean(
        default=True, help_text="False: they said so themselves, and nobody else did."
    )
    password_hash = Text(null=True, default=None, help_text="Argon2id. Null: no password.")
    created_at = Timestamptz(default=clock.now)
    last_login_at = Timestamptz(null=True, default=None)
