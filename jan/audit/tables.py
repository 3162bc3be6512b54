"""Rows of the audit log."""

from piccolo.columns import BigInt, Text, Timestamptz, Varchar
from piccolo.table import Table


class AuditLog(Table, tablename="audit_log"):
    """One act. The database gives it its place in the chain, and refuses every change."""

    id = Varchar(length=40, primary_key=True)
    organization_id = Varchar(length=40, null=True, default=None)
    chain = Varchar(length=40, help_text="The organization, or `jan` outside of any.")
    sequence = BigInt(help_text="From 1, without a gap, in each chain.")
    type = Text(help_text="OpenAI's word, such as `project.created`.")
    effective_at = Timestamptz()
    project_id = Varchar(length=40, null=True, default=None)
    actor = Text(help_text="JSON: who, and from where.")
    details = Text(help_text="JSON: what, before and after. No secrets.")
    previous_hash = Varchar(length=64)
    hash = Varchar(length=64, help_text="SHA-256 over all of it and `previous_hash`.")
