"""Let an organization say for how long it keeps what was said.

Safe while the previous version serves: old code never reads the column, and null keeps everything.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:11:000000"

UP = (
    """
    ALTER TABLE organization
    ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 36500)
    """,
)

forwards = Migration(ID, UP, __doc__)
