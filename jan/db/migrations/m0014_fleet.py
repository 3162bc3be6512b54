"""Create the registry of the fleet, allow-lists of models, and usage by endpoint and cost.

Safe while the previous version serves: old code reads none of the new tables, and the new columns
have defaults.

All of it is the operator's and nobody's in particular, so only the system sees it. Every change
that a gateway or a supervisor has to know of is notified on `jan_fleet`.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:14:000000"

SYSTEM = "current_setting('jan.scope', true) = 'system'"
TABLES = ("node", "provider", "endpoint", "model", "model_alias", "deployment")
NOTIFIED = {
    "provider": "",
    "endpoint": """OF url, node, weight, max_running, is_enabled, is_draining, state, since,
                   last_error, served, generation""",
    "model": "",
    "model_alias": "",
    "deployment": """OF model, engine_args, gpus, memory_fraction, instances, tensor_parallel,
                     max_running, idle_unload_s, replace, wanted, generation, status""",
}
"""What of them is worth a notification: not when an instance was looked at last."""

UP = (
    """
    CREATE TABLE node (
        name varchar(200) PRIMARY KEY,
        hardware jsonb NOT NULL DEFAULT '{}',
        started_at timestamptz NOT NULL,
        seen_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE provider (
        id varchar(40) PRIMARY KEY,
        name varchar(64) NOT NULL UNIQUE CHECK (name ~ '^[a-z][a-z0-9.-]*$'),
        kind text NOT NULL CHECK (kind IN ('runner', 'openai', 'jan')),
        node varchar(200) REFERENCES node ON DELETE CASCADE,
        managed_by text NOT NULL DEFAULT 'operator'
            CHECK (managed_by IN ('operator', 'settings')),
        sealed text,
        prefix varchar(64) NOT NULL DEFAULT '',
        only_models text[],
        is_enabled boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CHECK ((kind = 'runner') <= (sealed IS NULL))
    )
    """,
    """
    CREATE TABLE deployment (
        id varchar(40) PRIMARY KEY,
        node varchar(200) NOT NULL REFERENCES node ON DELETE CASCADE,
        model varchar(128) NOT NULL,
        engine_args text NOT NULL DEFAULT '',
        gpus integer[],
        memory_fraction real CHECK (memory_fraction > 0 AND memory_fraction <= 1),
        instances integer NOT NULL DEFAULT 1 CHECK (instances BETWEEN 1 AND 64),
        tensor_parallel integer NOT NULL DEFAULT 1 CHECK (tensor_parallel BETWEEN 1 AND 64),
        max_running integer CHECK (max_running > 0),
        idle_unload_s real CHECK (idle_unload_s > 0),
        replace text NOT NULL DEFAULT 'surge' CHECK (replace IN ('surge', 'recreate')),
        wanted text NOT NULL DEFAULT 'loaded' CHECK (wanted IN ('loaded', 'idle', 'unloaded')),
        generation integer NOT NULL DEFAULT 1,
        managed_by text NOT NULL DEFAULT 'operator'
            CHECK (managed_by IN ('operator', 'settings')),
        status text NOT NULL DEFAULT 'pending' CHECK (
            status IN ('pending', 'loading', 'loaded', 'replacing', 'unloading', 'unloaded',
                       'idle', 'failed')
        ),
        message text NOT NULL DEFAULT '',
        share real,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (node, model)
    )
    """,
    """
    CREATE TABLE endpoint (
        id varchar(40) PRIMARY KEY,
        provider_id varchar(40) NOT NULL REFERENCES provider ON DELETE CASCADE,
        deployment_id varchar(40) REFERENCES deployment ON DELETE CASCADE,
        generation integer NOT NULL DEFAULT 1,
        url text NOT NULL,
        node varchar(200) REFERENCES node ON DELETE CASCADE,
        weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100),
        max_running integer CHECK (max_running > 0),
        is_enabled boolean NOT NULL DEFAULT true,
        is_draining boolean NOT NULL DEFAULT false,
        state text NOT NULL DEFAULT 'unknown' CHECK (
            state IN ('unknown', 'healthy', 'degraded', 'ejected', 'half_open')
        ),
        since timestamptz NOT NULL DEFAULT now(),
        last_error text,
        served jsonb NOT NULL DEFAULT '[]',
        checked_at timestamptz,
        latency_ms real,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (provider_id, url)
    )
    """,
    "CREATE INDEX endpoint_deployment_id ON endpoint (deployment_id)",
    """
    CREATE TABLE model (
        id varchar(128) PRIMARY KEY,
        owned_by varchar(128),
        capabilities text[],
        context_length integer CHECK (context_length > 0),
        fallbacks text[] NOT NULL DEFAULT '{}',
        is_enabled boolean NOT NULL DEFAULT true,
        prompt_price bigint CHECK (prompt_price >= 0),
        cached_price bigint CHECK (cached_price >= 0),
        completion_price bigint CHECK (completion_price >= 0),
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE model_alias (
        alias varchar(128) PRIMARY KEY,
        model_id varchar(128) NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    *(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY" for table in TABLES),
    *(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY" for table in TABLES),
    *(
        f"CREATE POLICY {table}_tenant ON {table} USING ({SYSTEM}) WITH CHECK ({SYSTEM})"
        for table in TABLES
    ),
    """
    CREATE FUNCTION notify_fleet() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('jan_fleet', TG_TABLE_NAME);
        RETURN NULL;
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_fleet AFTER INSERT OR DELETE OR UPDATE {columns} ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION notify_fleet()
        """
        for table, columns in NOTIFIED.items()
    ),
    # Null: all models. Prices are micro-dollars for a million tokens, and so a token's price times
    # the number of tokens is a whole number of pico-dollars.
    "ALTER TABLE organization ADD allowed_models text[]",
    """
    ALTER TABLE project
        ADD allowed_models text[],
        ADD denied_models text[],
        ADD queue_weight smallint NOT NULL DEFAULT 1 CHECK (queue_weight BETWEEN 1 AND 100)
    """,
    """
    CREATE TRIGGER project_models_access
    AFTER UPDATE OF allowed_models, denied_models, queue_weight ON project
    FOR EACH ROW EXECUTE FUNCTION notify_access('project', 'id')
    """,
    """
    CREATE TRIGGER organization_models_access AFTER UPDATE OF allowed_models ON organization
    FOR EACH ROW EXECUTE FUNCTION notify_access('organization', 'id')
    """,
    """
    ALTER TABLE usage
        ADD endpoint_id varchar(40),
        ADD queue_ms real,
        ADD cost_picodollars bigint
    """,
)

forwards = Migration(ID, UP, __doc__)
