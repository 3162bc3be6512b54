"""Rows of projects, of who is in them, and of their service accounts."""

from piccolo.columns import Array, SmallInt, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_project_id() -> str:
    """Make a project's id."""
    return ids.new("proj")


def new_service_account_id() -> str:
    """Make a service account's id."""
    return ids.new("svcacct")


class Project(Table, tablename="project"):
    """Where everything that is made belongs: an organization's, or a person's own."""

    id = Varchar(length=40, primary_key=True, default=new_project_id)
    organization_id = Varchar(length=40, null=True, default=None)
    owner_user_id = Varchar(length=40, null=True, default=None, help_text="Whose own it is.")
    name = Varchar(length=128)
    archived_at = Timestamptz(null=True, default=None, help_text="Null while it can be used.")
    created_at = Timestamptz(default=clock.now)
    allowed_models = Array(Text(), null=True, default=None, help_text="Null: all.")
    denied_models = Array(Text(), null=True, default=None, help_text="All but these. Null: none.")
    queue_weight = SmallInt(default=1, help_text="Its turns beside those of a project with 1.")


class ProjectMember(Table, tablename="project_member"):
    """A person's role in a project of an organization in which they are a member."""

    project_id = Varchar(length=40, primary_key=True)
    organization_id = Varchar(length=40)
    user_id = Varchar(length=40)
    role = Text(help_text="`owner` or `member`.")
    created_at = Timestamptz(default=clock.now)


class ServiceAccount(Table, tablename="service_account"):
    """A program that acts in a project by keys of its own."""

    id = Varchar(length=40, primary_key=True, default=new_service_account_id)
    project_id = Varchar(length=40)
    organization_id = Varchar(length=40)
    name = Varchar(length=128)
    role = Text(help_text="`owner`, `member` or `none`.")
    created_at = Timestamptz(default=clock.now)
