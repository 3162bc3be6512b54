"""Rows of workspaces."""

from piccolo.columns import Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_workspace_id() -> str:
    """Make a workspace's id."""
    return ids.new("ws")


class Workspace(Table, tablename="workspace"):
    """A folder of conversations, with what the model is told in all of them."""

    id = Varchar(length=40, primary_key=True, default=new_workspace_id)
    project_id = Varchar(length=40)
    owner_id = Varchar(length=40, help_text="Whose it is: see `Caller.owner_id`.")
    name = Varchar(length=50)
    instruction = Text(null=True, default=None)
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now)
