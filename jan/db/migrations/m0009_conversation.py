"""Create workspaces, conversations and their items.

Safe while the previous version serves: old code never reads the tables.

All of it is in a project and private to its owner: a person, a service account or a key. That is
no foreign key, for it may point to three tables; what they leave behind goes with them by triggers.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:09:000000"

OURS = """
current_setting('jan.scope', true) = 'system' OR (
    project_id = current_setting('jan.project', true)
    AND owner_id = current_setting('jan.owner', true)
)
"""
OWNERS = ("users", "service_account", "api_key")

UP = (
    """
    CREATE TABLE workspace (
        id varchar(40) PRIMARY KEY,
        project_id varchar(40) NOT NULL REFERENCES project ON DELETE CASCADE,
        owner_id varchar(40) NOT NULL,
        name varchar(50) NOT NULL CHECK (name <> ''),
        instruction text CHECK (instruction <> ''),
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (id, project_id, owner_id)
    )
    """,
    "CREATE INDEX workspace_owner_id ON workspace (owner_id, project_id, created_at, id)",
    "CREATE INDEX workspace_project_id ON workspace (project_id)",
    """
    CREATE TABLE conversation (
        id varchar(40) PRIMARY KEY,
        project_id varchar(40) NOT NULL REFERENCES project ON DELETE CASCADE,
        owner_id varchar(40) NOT NULL,
        workspace_id varchar(40),
        title varchar(200) CHECK (title <> ''),
        metadata jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (id, project_id, owner_id),
        FOREIGN KEY (workspace_id, project_id, owner_id)
            REFERENCES workspace (id, project_id, owner_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX conversation_owner_id ON conversation (owner_id, project_id, created_at, id)",
    """
    CREATE INDEX conversation_workspace_id ON conversation (workspace_id, created_at, id)
    WHERE workspace_id IS NOT NULL
    """,
    """
    CREATE INDEX conversation_loose ON conversation (owner_id, project_id, created_at, id)
    WHERE workspace_id IS NULL
    """,
    "CREATE INDEX conversation_project_id ON conversation (project_id, updated_at)",
    # Ordered by a number that is drawn while the conversation's row is locked.
    """
    CREATE TABLE conversation_item (
        conversation_id varchar(40) NOT NULL,
        position bigint GENERATED ALWAYS AS IDENTITY,
        id varchar(128) NOT NULL,
        project_id varchar(40) NOT NULL,
        owner_id varchar(40) NOT NULL,
        type text NOT NULL,
        status text CHECK (status IN ('in_progress', 'completed', 'incomplete', 'failed')),
        item jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (conversation_id, position),
        UNIQUE (conversation_id, id),
        FOREIGN KEY (conversation_id, project_id, owner_id)
            REFERENCES conversation (id, project_id, owner_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX conversation_item_id ON conversation_item (id, owner_id)",
    *(
        statement
        for table in ("workspace", "conversation", "conversation_item")
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {table}_owner ON {table} USING ({OURS}) WITH CHECK ({OURS})",
        )
    ),
    # Whoever removes an owner does not see what is private to them.
    """
    CREATE FUNCTION remove_what_they_own() RETURNS trigger AS $$
    DECLARE
        scope text := current_setting('jan.scope', true);
    BEGIN
        PERFORM set_config('jan.scope', 'system', true);
        DELETE FROM conversation WHERE owner_id = OLD.id;
        DELETE FROM workspace WHERE owner_id = OLD.id;
        PERFORM set_config('jan.scope', coalesce(scope, ''), true);
        RETURN NULL;
    END;
    $$ LANGUAGE plpgsql
    """,
    *(
        f"CREATE TRIGGER {table}_owned AFTER DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION remove_what_they_own()"
        for table in OWNERS
    ),
)

forwards = Migration(ID, UP, __doc__)
