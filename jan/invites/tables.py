"""Rows of invites."""

from piccolo.columns import Boolean, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_invite_id() -> str:
    """Make an invite's id."""
    return ids.new("invite")


class Invite(Table, tablename="invite"):
    """A place in an organization, offered to whoever reads mail at an address."""

    id = Varchar(length=40, primary_key=True, default=new_invite_id)
    organization_id = Varchar(length=40)
    email = Varchar(length=255, help_text="In lower case.")
    role = Text(help_text="In the organization.")
    digest = Varchar(length=64, unique=True, help_text="HMAC-SHA256 of the code, in hex.")
    status = Text(default="pending", help_text="`pending`, `accepted` or `expired`.")
    invited_by = Varchar(
        length=40, null=True, default=None, help_text="A user, who has to be an owner until then."
    )
    was_mailed = Boolean(help_text="False: the inviter was shown the link, which proves nothing.")
    created_at = Timestamptz(default=clock.now)
    expires_at = Timestamptz()
    accepted_at = Timestamptz(null=True, default=None)
    accepted_by = Varchar(length=40, null=True, default=None, help_text="A user.")


class InviteProject(Table, tablename="invite_project"):
    """A project that comes with an invite, and the role in it."""

    invite_id = Varchar(length=40, primary_key=True)
    organization_id = Varchar(length=40)
    project_id = Varchar(length=40)
    role = Text()
