"""Create users, organizations, projects and their members; give keys a place in them.

Safe while the previous version serves: new columns of old tables may be null or have a default, and
the previous version's keys go on in the default organization.
"""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:03:000000"

NEW_ID = "left(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 24)"
"""24 hexadecimal digits of PostgreSQL's cryptographic random numbers."""

UP = (
    """
    CREATE TABLE organization (
        id varchar(40) PRIMARY KEY,
        name varchar(128) NOT NULL CHECK (name <> ''),
        is_default boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE UNIQUE INDEX organization_one_default ON organization (is_default) WHERE is_default",
    "CREATE INDEX organization_created_at_id ON organization (created_at, id)",
    """
    CREATE TABLE users (
        id varchar(40) PRIMARY KEY,
        email varchar(255) NOT NULL CHECK (email = lower(email) AND email LIKE '_%@_%'),
        name varchar(100) NOT NULL DEFAULT '',
        is_guest boolean NOT NULL DEFAULT false,
        is_enabled boolean NOT NULL DEFAULT true,
        is_email_proven boolean NOT NULL DEFAULT true,
        password_hash text,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_login_at timestamptz,
        CONSTRAINT users_email_key UNIQUE (email)
    )
    """,
    "CREATE INDEX users_created_at_id ON users (created_at, id)",
    """
    CREATE TABLE organization_member (
        organization_id varchar(40) NOT NULL REFERENCES organization ON DELETE CASCADE,
        user_id varchar(40) NOT NULL REFERENCES users ON DELETE CASCADE,
        role text NOT NULL CHECK (role IN ('owner', 'reader', 'member')),
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organization_id, user_id)
    )
    """,
    "CREATE INDEX organization_member_user_id ON organization_member (user_id)",
    """
    CREATE INDEX organization_member_created_at
    ON organization_member (organization_id, created_at, user_id)
    """,
    # A person's own project stands outside of all organizations.
    """
    CREATE TABLE project (
        id varchar(40) PRIMARY KEY,
        organization_id varchar(40) REFERENCES organization ON DELETE CASCADE,
        owner_user_id varchar(40) UNIQUE REFERENCES users ON DELETE CASCADE,
        name varchar(128) NOT NULL CHECK (name <> ''),
        archived_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (id, organization_id),
        CONSTRAINT project_has_one_owner
            CHECK ((organization_id IS NULL) <> (owner_user_id IS NULL))
    )
    """,
    "CREATE INDEX project_organization_id ON project (organization_id, created_at, id)",
    """
    CREATE INDEX project_active ON project (organization_id, created_at, id)
    WHERE archived_at IS NULL
    """,
    # Whoever leaves the organization leaves its projects.
    """
    CREATE TABLE project_member (
        project_id varchar(40) NOT NULL,
        organization_id varchar(40) NOT NULL,
        user_id varchar(40) NOT NULL,
        role text NOT NULL CHECK (role IN ('owner', 'member')),
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (project_id, user_id),
        FOREIGN KEY (project_id, organization_id)
            REFERENCES project (id, organization_id) ON DELETE CASCADE,
        FOREIGN KEY (organization_id, user_id)
            REFERENCES organization_member (organization_id, user_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX project_member_user_id ON project_member (user_id)",
    "CREATE INDEX project_member_created_at ON project_member (project_id, created_at, user_id)",
    """
    CREATE TABLE service_account (
        id varchar(40) PRIMARY KEY,
        project_id varchar(40) NOT NULL,
        organization_id varchar(40) NOT NULL,
        name varchar(128) NOT NULL CHECK (name <> ''),
        role text NOT NULL CHECK (role IN ('owner', 'member', 'none')),
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (id, project_id),
        FOREIGN KEY (project_id, organization_id)
            REFERENCES project (id, organization_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX service_account_project_id ON service_account (project_id, created_at, id)",
    f"""
    INSERT INTO organization (id, name, is_default)
    VALUES ('org_' || {NEW_ID}, 'Default organization', true)
    """,
    f"""
    INSERT INTO project (id, organization_id, name)
    SELECT 'proj_' || {NEW_ID}, id, 'Default project' FROM organization
    """,
    """
    ALTER TABLE api_key
        ADD kind text NOT NULL DEFAULT 'project'
            CHECK (kind IN ('admin', 'organization', 'project', 'service', 'ephemeral')),
        ADD organization_id varchar(40) REFERENCES organization ON DELETE CASCADE,
        ADD project_id varchar(40) REFERENCES project ON DELETE CASCADE,
        ADD user_id varchar(40) REFERENCES users ON DELETE CASCADE,
        ADD service_account_id varchar(40),
        ADD scopes text[],
        ADD allowed_models text[],
        ADD CONSTRAINT api_key_project_is_its_organization_s
            FOREIGN KEY (project_id, organization_id)
            REFERENCES project (id, organization_id) ON DELETE CASCADE,
        ADD CONSTRAINT api_key_owner_is_a_member FOREIGN KEY (organization_id, user_id)
            REFERENCES organization_member (organization_id, user_id) ON DELETE CASCADE,
        ADD CONSTRAINT api_key_account_is_its_project_s FOREIGN KEY (service_account_id, project_id)
            REFERENCES service_account (id, project_id) ON DELETE CASCADE
    """,
    "UPDATE api_key SET (organization_id, project_id) = (SELECT organization_id, id FROM project)",
    """
    ALTER TABLE api_key
        ADD CONSTRAINT api_key_belongs_somewhere
            CHECK (organization_id IS NOT NULL OR (project_id IS NOT NULL AND user_id IS NOT NULL)),
        ADD CONSTRAINT api_key_kind_has_a_place
            CHECK ((kind IN ('admin', 'organization')) = (project_id IS NULL)),
        ADD CONSTRAINT api_key_kind_has_an_account
            CHECK ((kind = 'service') = (service_account_id IS NOT NULL)),
        ADD CONSTRAINT api_key_has_one_owner CHECK (user_id IS NULL OR service_account_id IS NULL),
        ADD CONSTRAINT api_key_ephemeral_ends CHECK (kind <> 'ephemeral' OR (
            expires_at IS NOT NULL AND expires_at <= created_at + interval '24 hours'
        ))
    """,
    "ALTER TABLE api_key ALTER kind DROP DEFAULT",
    "CREATE INDEX api_key_organization_id ON api_key (organization_id, kind, created_at, id)",
    "CREATE INDEX api_key_project_id ON api_key (project_id, created_at, id)",
    "CREATE INDEX api_key_user_id ON api_key (user_id)",
    "CREATE INDEX api_key_service_account_id ON api_key (service_account_id)",
    # Without an organization's last owner nobody could mend it. The lock makes two owners who
    # remove each other at once wait for one another. It has to see all rows, whoever acts; a SET
    # of the function's own would want a superuser.
    """
    CREATE FUNCTION organization_keeps_an_owner() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        scope text := current_setting('jan.scope', true);
        is_left boolean;
    BEGIN
        PERFORM set_config('jan.scope', 'system', true);
        PERFORM FROM organization WHERE id = OLD.organization_id FOR UPDATE;
        is_left := FOUND AND NOT EXISTS (
            SELECT FROM organization_member
            WHERE organization_id = OLD.organization_id AND role = 'owner'
        );
        PERFORM set_config('jan.scope', COALESCE(scope, ''), true);
        IF is_left THEN
            RAISE EXCEPTION 'an organization keeps an owner'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'organization_keeps_an_owner';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER organization_member_demoted AFTER UPDATE OF role ON organization_member
    FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner')
    EXECUTE FUNCTION organization_keeps_an_owner()
    """,
    """
    CREATE TRIGGER organization_member_removed AFTER DELETE ON organization_member
    FOR EACH ROW WHEN (OLD.role = 'owner')
    EXECUTE FUNCTION organization_keeps_an_owner()
    """,
    # What every process keeps in memory of a credential; the payload says whose it is.
    """
    CREATE FUNCTION notify_access() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        changed jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    BEGIN
        PERFORM pg_notify('jan_access', TG_ARGV[0] || ':' || (changed ->> TG_ARGV[1]));
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER api_key_access
    AFTER INSERT OR DELETE OR UPDATE OF
        digest, expires_at, revoked_at, scopes, allowed_models, organization_id, project_id, user_id
    ON api_key FOR EACH ROW EXECUTE FUNCTION notify_access('key', 'id')
    """,
    """
    CREATE TRIGGER users_access AFTER DELETE OR UPDATE OF is_enabled, is_guest, email ON users
    FOR EACH ROW EXECUTE FUNCTION notify_access('user', 'id')
    """,
    """
    CREATE TRIGGER organization_member_access AFTER INSERT OR DELETE OR UPDATE OF role
    ON organization_member FOR EACH ROW EXECUTE FUNCTION notify_access('user', 'user_id')
    """,
    """
    CREATE TRIGGER project_member_access AFTER INSERT OR DELETE OR UPDATE OF role
    ON project_member FOR EACH ROW EXECUTE FUNCTION notify_access('user', 'user_id')
    """,
    """
    CREATE TRIGGER project_access AFTER DELETE OR UPDATE OF archived_at ON project
    FOR EACH ROW EXECUTE FUNCTION notify_access('project', 'id')
    """,
    """
    CREATE TRIGGER service_account_access AFTER DELETE OR UPDATE OF role ON service_account
    FOR EACH ROW EXECUTE FUNCTION notify_access('project', 'project_id')
    """,
    """
    ALTER TABLE usage
        ALTER key_id DROP NOT NULL,
        ADD organization_id varchar(40),
        ADD project_id varchar(40),
        ADD user_id varchar(40)
    """,
    "CREATE INDEX usage_organization_id ON usage (organization_id, created_at)",
    "CREATE INDEX usage_project_id ON usage (project_id, created_at)",
)

forwards = Migration(ID, UP, __doc__)
