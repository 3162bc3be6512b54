"""Create `api_key`. Safe while the previous version serves: there is none."""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:01:000000"
UP = (
    """
    CREATE TABLE api_key (
        id varchar(40) PRIMARY KEY,
        name varchar(200) NOT NULL CHECK (name <> ''),
        digest char(64) NOT NULL UNIQUE,
        hint varchar(8) NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz
    )
    """,
    "CREATE INDEX api_key_created_at_id ON api_key (created_at, id)",
    # Every gateway process keeps keys in memory; this is how it learns that one has changed.
    # `last_used_at` is no such change, and is written all the time.
    """
    CREATE FUNCTION api_key_notify() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('jan_keys', COALESCE(NEW.id, OLD.id));
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER api_key_changed
    AFTER INSERT OR DELETE OR UPDATE OF digest, expires_at, revoked_at ON api_key
    FOR EACH ROW EXECUTE FUNCTION api_key_notify()
    """,
)

forwards = Migration(ID, UP, __doc__)
