"""Create invites. Safe while the previous version serves: old code never reads the tables."""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:05:000000"
UP = (
    # Who invited is no foreign key: when they are gone, their invites are void.
    """
    CREATE TABLE invite (
        id varchar(40) PRIMARY KEY,
        organization_id varchar(40) NOT NULL REFERENCES organization ON DELETE CASCADE,
        email varchar(255) NOT NULL CHECK (email = lower(email) AND email LIKE '_%@_%'),
        role text NOT NULL CHECK (role IN ('owner', 'reader', 'member')),
        digest char(64) NOT NULL UNIQUE,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted', 'expired')),
        invited_by varchar(40),
        was_mailed boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        accepted_at timestamptz,
        accepted_by varchar(40) REFERENCES users ON DELETE SET NULL,
        CHECK ((status = 'accepted') = (accepted_at IS NOT NULL)),
        UNIQUE (id, organization_id)
    )
    """,
    """
    CREATE UNIQUE INDEX invite_one_pending ON invite (organization_id, email)
    WHERE status = 'pending'
    """,
    "CREATE INDEX invite_organization_id ON invite (organization_id, created_at, id)",
    "CREATE INDEX invite_expires_at ON invite (expires_at) WHERE status = 'pending'",
    """
    CREATE TABLE invite_project (
        invite_id varchar(40) NOT NULL,
        organization_id varchar(40) NOT NULL,
        project_id varchar(40) NOT NULL,
        role text NOT NULL CHECK (role IN ('owner', 'member')),
        PRIMARY KEY (invite_id, project_id),
        FOREIGN KEY (invite_id, organization_id)
            REFERENCES invite (id, organization_id) ON DELETE CASCADE,
        FOREIGN KEY (project_id, organization_id)
            REFERENCES project (id, organization_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX invite_project_project_id ON invite_project (project_id)",
)

forwards = Migration(ID, UP, __doc__)
