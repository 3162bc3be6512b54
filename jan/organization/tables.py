"""Rows of organizations and of who is in them."""

from piccolo.columns import Array, Boolean, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_organization_id() -> str:
    """Make an organization's id."""
    return ids.new("org")


class Organization(Table, tablename="organization"):
    """A tenant."""

    id = Varchar(length=40, primary_key=True, default=new_organization_id)
    name = Varchar(length=128)
    is_default = Boolean(default=False, help_text="Of one. Its owners administer all of Jan.")
    created_at = Timestamptz(default=clock.now)
    retention_days = Integer(
        null=True,
        default=None,
        help_text="For how long conversations and responses are kept that rest. Null: for ever.",
    )
    allowed_models = Array(Text(), null=True, default=None, help_text="Null: all.")


class OrganizationMember(Table, tablename="organization_member"):
    """A person's role in an organization. One of them is an owner, always."""

    organization_id = Varchar(length=40, primary_key=True)
    user_id = Varchar(length=40)
    role = Text(help_text="`owner`, `reader` or `member`.")
    created_at = Timestamptz(default=clock.now)
