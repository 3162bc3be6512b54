"""Create `mcp_server`: remote MCP servers that administrators have registered.

Safe while the previous version serves: old code never reads the table.

One belongs to a project, or to an organization and so to all of its projects. A person's own
project has no organization, and neither have its servers.
"""

from jan.db.migration import Migration

ID = "2026-11-25T00:00:13:000000"

VISIBLE = """
current_setting('jan.scope', true) = 'system'
OR organization_id = current_setting('jan.organization', true)
OR (organization_id IS NULL AND EXISTS (
    SELECT FROM project AS p
    WHERE p.id = project_id AND p.owner_user_id = current_setting('jan.user', true)
))
"""

UP = (
    """
    CREATE TABLE mcp_server (
        id varchar(40) PRIMARY KEY,
        organization_id varchar(40) REFERENCES organization ON DELETE CASCADE,
        project_id varchar(40) REFERENCES project ON DELETE CASCADE,
        label varchar(64) NOT NULL,
        description text NOT NULL DEFAULT '',
        url text NOT NULL,
        sealed text,
        header_names text[] NOT NULL DEFAULT '{}',
        allowed_tools text[],
        require_approval text NOT NULL CHECK (require_approval IN ('always', 'never')),
        is_enabled boolean NOT NULL DEFAULT true,
        tools json,
        left_out text[] NOT NULL DEFAULT '{}',
        tools_listed_at timestamptz,
        last_checked_at timestamptz,
        last_error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CHECK (organization_id IS NOT NULL OR project_id IS NOT NULL),
        CHECK ((sealed IS NULL) = (header_names = '{}'))
    )
    """,
    """
    CREATE UNIQUE INDEX mcp_server_project_id_label ON mcp_server (project_id, label)
    WHERE project_id IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX mcp_server_organization_id_label ON mcp_server (organization_id, label)
    WHERE project_id IS NULL
    """,
    "CREATE INDEX mcp_server_organization_id ON mcp_server (organization_id, created_at, id)",
    "CREATE INDEX mcp_server_last_checked_at ON mcp_server (last_checked_at) WHERE is_enabled",
    "ALTER TABLE mcp_server ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE mcp_server FORCE ROW LEVEL SECURITY",
    f"CREATE POLICY mcp_server_tenant ON mcp_server USING ({VISIBLE}) WITH CHECK ({VISIBLE})",
)

forwards = Migration(ID, UP, __doc__)
