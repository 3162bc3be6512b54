"""Create `tool_call`, what tools said lately, and limits that all processes count together.

Safe while the previous version serves: old code never reads the tables.

What is worth nothing after a crash is not logged: writing it costs less, and PostgreSQL empties it
when it has to recover.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:12:000000"

SYSTEM = "current_setting('jan.scope', true) = 'system'"
VISIBLE = {
    "tool_call": f"""
        {SYSTEM} OR organization_id = current_setting('jan.organization', true)
        OR (organization_id IS NULL AND user_id = current_setting('jan.user', true))
    """,
    "tool_answer": SYSTEM,
    "bucket": SYSTEM,
}

UP = (
    # As in `usage`, no foreign keys: a row outlives what it names, and is never refused for it.
    """
    CREATE TABLE tool_call (
        id uuid PRIMARY KEY,
        organization_id varchar(40),
        project_id varchar(40),
        user_id varchar(40),
        key_id varchar(40),
        tool text NOT NULL,
        server text,
        response_id varchar(40),
        outcome text NOT NULL CHECK (
            outcome IN ('completed', 'failed', 'timed_out', 'refused', 'cancelled')
        ),
        error_code text,
        duration_ms real NOT NULL,
        request_bytes bigint NOT NULL,
        response_bytes bigint NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX tool_call_created_at_id ON tool_call (created_at, id)",
    "CREATE INDEX tool_call_organization_id ON tool_call (organization_id, created_at)",
    "CREATE INDEX tool_call_project_id ON tool_call (project_id, created_at)",
    """
    CREATE UNLOGGED TABLE tool_answer (
        key varchar(64) PRIMARY KEY,
        provider text NOT NULL,
        answer bytea NOT NULL,
        size_bytes integer NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX tool_answer_created_at ON tool_answer (created_at, key)",
    # A bucket is known by when it will be full again: one that is full needs no row.
    """
    CREATE UNLOGGED TABLE bucket (
        name text PRIMARY KEY,
        full_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX bucket_full_at ON bucket (full_at)",
    # `costs_s` is how long what is taken needs to come back, `depths_s` how long an empty bucket
    # needs to be full. Returns 0 where all were taken from, else seconds to wait, and none was.
    """
    CREATE FUNCTION take_from_buckets(names text[], costs_s float8[], depths_s float8[])
    RETURNS float8 LANGUAGE plpgsql AS $$
    DECLARE
        scope text := current_setting('jan.scope', true);
        instant timestamptz;
        wait_s float8;
    BEGIN
        PERFORM set_config('jan.scope', 'system', true);
        -- In the order of their names: two calls that share buckets never wait for one another.
        INSERT INTO bucket (name, full_at)
        SELECT wanted, '-infinity' FROM unnest(names) AS wanted ORDER BY wanted
        ON CONFLICT DO NOTHING;
        PERFORM FROM bucket WHERE name = ANY(names) ORDER BY name FOR UPDATE;
        -- After the locks: who waited for them would else lose what came back meanwhile.
        instant := clock_timestamp();
        SELECT max(
            extract(epoch FROM greatest(full_at, instant) - instant) + cost_s - depth_s
        ) INTO wait_s
        FROM unnest(names, costs_s, depths_s) AS wanted (name, cost_s, depth_s)
        LEFT JOIN bucket USING (name);
        IF wait_s < 0.000001 THEN
            wait_s := 0;
            UPDATE bucket SET full_at = greatest(full_at, instant) + cost_s * interval '1 second'
            FROM unnest(names, costs_s) AS wanted (name, cost_s) WHERE bucket.name = wanted.name;
        END IF;
        PERFORM set_config('jan.scope', coalesce(scope, ''), true);
        RETURN wait_s;
    END $$
    """,
    *(
        statement
        for table, condition in VISIBLE.items()
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {table}_tenant ON {table} USING ({condition}) WITH CHECK ({condition})",
        )
    ),
)

forwards = Migration(ID, UP, __doc__)
