"""Create sessions and what leads to one. Safe while the previous version serves: all is new."""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:04:000000"
UP = (
    """
    CREATE TABLE session (
        id varchar(40) PRIMARY KEY,
        user_id varchar(40) NOT NULL REFERENCES users ON DELETE CASCADE,
        address text NOT NULL DEFAULT '',
        user_agent text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        ended_at timestamptz
    )
    """,
    "CREATE INDEX session_user_id ON session (user_id, created_at)",
    "CREATE INDEX session_expires_at ON session (expires_at)",
    # Used ones stay for as long as their session: seeing one again means that it was stolen.
    """
    CREATE TABLE refresh_token (
        digest char(64) PRIMARY KEY,
        session_id varchar(40) NOT NULL REFERENCES session ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        used_at timestamptz
    )
    """,
    "CREATE INDEX refresh_token_session_id ON refresh_token (session_id)",
    """
    CREATE TABLE identity (
        provider text NOT NULL,
        subject text NOT NULL,
        user_id varchar(40) NOT NULL REFERENCES users ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (provider, subject)
    )
    """,
    "CREATE INDEX identity_user_id ON identity (user_id)",
    # Codes that open something once: a forgotten password's reset, the first owner's set-up.
    """
    CREATE TABLE one_time_code (
        digest char(64) PRIMARY KEY,
        purpose text NOT NULL CHECK (purpose IN ('password_reset', 'setup')),
        user_id varchar(40) REFERENCES users ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        CHECK ((purpose = 'password_reset') = (user_id IS NOT NULL))
    )
    """,
    "CREATE INDEX one_time_code_expires_at ON one_time_code (expires_at)",
    "CREATE INDEX one_time_code_user_id ON one_time_code (user_id)",
    # How often something was tried. Unlogged: after a crash the counting begins anew.
    """
    CREATE UNLOGGED TABLE attempt (
        subject text PRIMARY KEY,
        tries integer NOT NULL,
        ends_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX attempt_ends_at ON attempt (ends_at)",
    """
    CREATE TRIGGER session_access AFTER DELETE OR UPDATE OF ended_at ON session
    FOR EACH ROW EXECUTE FUNCTION notify_access('session', 'id')
    """,
)

forwards = Migration(ID, UP, __doc__)
