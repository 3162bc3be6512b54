"""Create responses, what went into them, what came of them, and events of background ones.

Safe while the previous version serves: old code never reads the tables.

`parameters` and `object` are `json`, not `jsonb`, which sorts keys: the order of a schema's
properties is the order in which a model answers. Items are, so that they are given back as they
were told, to the letter.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:10:000000"

SYSTEM = "current_setting('jan.scope', true) = 'system'"
OURS = f"""
{SYSTEM} OR (
    project_id = current_setting('jan.project', true)
    AND owner_id = current_setting('jan.owner', true)
)
"""

UP = (
    # What came before may be deleted, and is no foreign key.
    """
    CREATE TABLE response (
        id varchar(40) PRIMARY KEY,
        project_id varchar(40) NOT NULL REFERENCES project ON DELETE CASCADE,
        owner_id varchar(40) NOT NULL,
        conversation_id varchar(40) REFERENCES conversation ON DELETE SET NULL,
        previous_response_id varchar(40),
        status text NOT NULL CHECK (status IN
            ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
        is_background boolean NOT NULL,
        is_stream boolean NOT NULL,
        parameters json NOT NULL,
        object json NOT NULL,
        caller jsonb NOT NULL,
        engine text,
        attempt integer NOT NULL DEFAULT 0,
        lease_expires_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz,
        ended_at timestamptz,
        UNIQUE (id, project_id, owner_id),
        CHECK ((ended_at IS NULL) = (status IN ('queued', 'in_progress'))),
        CHECK ((status = 'in_progress') = (lease_expires_at IS NOT NULL))
    )
    """,
    "CREATE INDEX response_owner_id ON response (owner_id, project_id, created_at, id)",
    "CREATE INDEX response_project_id ON response (project_id, ended_at)",
    """
    CREATE INDEX response_conversation_id ON response (conversation_id)
    WHERE conversation_id IS NOT NULL
    """,
    """
    CREATE INDEX response_lease_expires_at ON response (lease_expires_at)
    WHERE status = 'in_progress'
    """,
    # Few at any time: the sweep looks for those that nobody will make.
    "CREATE INDEX response_queued ON response (created_at) WHERE status = 'queued'",
    # Input first, then output.
    """
    CREATE TABLE response_item (
        response_id varchar(40) NOT NULL,
        position integer NOT NULL,
        is_output boolean NOT NULL,
        id varchar(128) NOT NULL,
        project_id varchar(40) NOT NULL,
        owner_id varchar(40) NOT NULL,
        item json NOT NULL,
        PRIMARY KEY (response_id, position),
        FOREIGN KEY (response_id, project_id, owner_id)
            REFERENCES response (id, project_id, owner_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX response_item_id ON response_item (id, owner_id)",
    # As they are sent, all that were written at a time in one row.
    """
    CREATE TABLE response_event (
        response_id varchar(40) NOT NULL REFERENCES response ON DELETE CASCADE,
        first_number integer NOT NULL,
        last_number integer NOT NULL CHECK (last_number >= first_number),
        events bytea NOT NULL,
        PRIMARY KEY (response_id, first_number)
    )
    """,
    *(
        statement
        for table, condition in {
            "response": OURS,
            "response_item": OURS,
            "response_event": f"""
                {SYSTEM} OR EXISTS (SELECT FROM response AS r WHERE r.id = response_id)
            """,
        }.items()
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {table}_owner ON {table} USING ({condition}) WITH CHECK ({condition})",
        )
    ),
    """
    CREATE OR REPLACE FUNCTION remove_what_they_own() RETURNS trigger AS $$
    DECLARE
        scope text := current_setting('jan.scope', true);
    BEGIN
        PERFORM set_config('jan.scope', 'system', true);
        -- In the order in which the end of a response locks them.
        DELETE FROM conversation WHERE owner_id = OLD.id;
        DELETE FROM response WHERE owner_id = OLD.id;
        DELETE FROM workspace WHERE owner_id = OLD.id;
        PERFORM set_config('jan.scope', coalesce(scope, ''), true);
        RETURN NULL;
    END;
    $$ LANGUAGE plpgsql
    """,
)

forwards = Migration(ID, UP, __doc__)
