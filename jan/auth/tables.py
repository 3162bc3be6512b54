"""Rows of sessions, and of what leads to one."""

from piccolo.columns import Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_session_id() -> str:
    """Make a session's id."""
    return ids.new("sess")


class Session(Table, tablename="session"):
    """A person, signed in somewhere. Its refresh tokens are one family."""

    id = Varchar(length=40, primary_key=True, default=new_session_id)
    user_id = Varchar(length=40)
    address = Text(default="")
    user_agent = Text(default="")
    created_at = Timestamptz(default=clock.now)
    expires_at = Timestamptz()
    ended_at = Timestamptz(null=True, default=None, help_text="Null while it goes on.")


class RefreshToken(Table, tablename="refresh_token"):
    """Opens the next access token, once."""

    digest = Varchar(length=64, primary_key=True)
    session_id = Varchar(length=40)
    created_at = Timestamptz(default=clock.now)
    used_at = Timestamptz(null=True, default=None, help_text="Seen after this: it was stolen.")


class Identity(Table, tablename="identity"):
    """A person, as an identity provider knows them."""

    provider = Text(primary_key=True)
    subject = Text(help_text="The provider's `sub`: unlike an e-mail address it never changes.")
    user_id = Varchar(length=40)
    created_at = Timestamptz(default=clock.now)


class OneTimeCode(Table, tablename="one_time_code"):
    """What opens one thing once, for whoever holds the code."""

    digest = Varchar(length=64, primary_key=True)
    purpose = Text(help_text="`password_reset` or `setup`.")
    user_id = Varchar(length=40, null=True, default=None)
    created_at = Timestamptz(default=clock.now)
    expires_at = Timestamptz()
    used_at = Timestamptz(null=True, default=None)


class Attempt(Table, tablename="attempt"):
    """How often something was tried within a window of time."""

    subject = Text(primary_key=True)
    tries = Integer()
    ends_at = Timestamptz()
