"""Let a connection see the rows of the tenant that its transaction names, and no others.

Not safe while a version serves that names none; there has been no release of one.

`jan.scope = 'system'` sees everything: it is for what runs before there is a caller (who holds this
key?) and for background work. Where nothing is set, nothing is seen.
"""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:07:000000"

ORGANIZATION = "organization_id = current_setting('jan.organization', true)"
SYSTEM = "current_setting('jan.scope', true) = 'system'"
USER = "= current_setting('jan.user', true)"
AUDITED = "chain = current_setting('jan.organization', true)"

VISIBLE = {
    "organization": "id = current_setting('jan.organization', true)",
    "users": f"""
        id {USER} OR EXISTS (
            SELECT FROM organization_member AS m WHERE m.user_id = users.id AND m.{ORGANIZATION}
        )
    """,
    "organization_member": f"{ORGANIZATION} OR user_id {USER}",
    "project": f"{ORGANIZATION} OR owner_user_id {USER}",
    "project_member": ORGANIZATION,
    "service_account": ORGANIZATION,
    "api_key": f"{ORGANIZATION} OR (organization_id IS NULL AND user_id {USER})",
    "usage": f"{ORGANIZATION} OR (organization_id IS NULL AND user_id {USER})",
    "session": f"user_id {USER}",
    "refresh_token": "false",
    "identity": f"user_id {USER}",
    "one_time_code": "false",
    "attempt": "false",
    "invite": ORGANIZATION,
    "invite_project": ORGANIZATION,
    # The column that the hash covers: a row that was moved elsewhere is still missed.
    "audit_log": AUDITED,
}
"""What a tenant sees, by table."""

WRITABLE = {"audit_log": f"{AUDITED} OR chain = 'jan'"}
"""What a tenant may write, where that is not what it sees: what people do outside of any
organization is told to whoever administers all of Jan."""

UP = (
    *(
        statement
        for table, condition in VISIBLE.items()
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"""
            CREATE POLICY {table}_tenant ON {table} USING ({SYSTEM} OR {condition})
            WITH CHECK ({SYSTEM} OR {WRITABLE.get(table, condition)})
            """,
        )
    ),
    # People list the organizations that they are in, whichever of them they act in.
    f"""
    CREATE POLICY organization_joined ON organization FOR SELECT USING (EXISTS (
        SELECT FROM organization_member AS m
        WHERE m.organization_id = organization.id AND m.user_id {USER}
    ))
    """,
)

forwards = Migration(ID, UP, __doc__)
