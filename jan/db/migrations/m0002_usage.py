"""Create `usage`. Safe while the previous version serves: old code never reads the table."""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:02:000000"
UP = (
    # No foreign key to api_key: rows outlive their key (that is what accounts are for), and one
    # that can't be attributed must not keep a batch of others from being written.
    """
    CREATE TABLE usage (
        id uuid PRIMARY KEY,
        request_id varchar(128) NOT NULL,
        key_id varchar(40) NOT NULL,
        model text NOT NULL,
        path text NOT NULL,
        status smallint NOT NULL,
        prompt_tokens integer NOT NULL DEFAULT 0 CHECK (prompt_tokens >= 0),
        completion_tokens integer NOT NULL DEFAULT 0 CHECK (completion_tokens >= 0),
        cached_tokens integer NOT NULL DEFAULT 0 CHECK (cached_tokens >= 0),
        time_to_first_token_ms real,
        duration_ms real NOT NULL,
        request_bytes bigint NOT NULL,
        response_bytes bigint NOT NULL,
        is_stream boolean NOT NULL,
        error_code text,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX usage_created_at_id ON usage (created_at, id)",
    "CREATE INDEX usage_key_id_created_at ON usage (key_id, created_at)",
)

forwards = Migration(ID, UP, __doc__)
