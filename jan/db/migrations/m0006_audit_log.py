"""Create the audit log: written once, chained by hashes, changed by nobody.

Safe while the previous version serves: old code never writes to it.
"""

from jan.db.migration import Migration

ID = "2026-11-24T00:00:06:000000"
UP = (
    # No foreign keys: the log outlives what it tells of. `chain` is the organization, or 'jan' for
    # what happens outside of any. Documents are text as written, so that a hash over them holds.
    """
    CREATE TABLE audit_log (
        id varchar(40) PRIMARY KEY,
        organization_id varchar(40),
        chain varchar(40) NOT NULL,
        sequence bigint NOT NULL CHECK (sequence > 0),
        type text NOT NULL,
        effective_at timestamptz NOT NULL,
        project_id varchar(40),
        actor text NOT NULL,
        details text NOT NULL,
        previous_hash char(64) NOT NULL,
        hash char(64) NOT NULL,
        UNIQUE (chain, sequence)
    )
    """,
    "CREATE INDEX audit_log_chain_effective_at ON audit_log (chain, effective_at, id)",
    # The place in the chain is given here, under a lock that holds until the end of the
    # transaction: two links never hang on one. It has to see the last link, whoever acts, and to
    # find it by the index: a plan that was made while the log was short is kept for a long time.
    """
    CREATE FUNCTION audit_log_link() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
    DECLARE
        scope text := current_setting('jan.scope', true);
        last record;
    BEGIN
        PERFORM set_config('jan.scope', 'system', true);
        NEW.chain := COALESCE(NEW.organization_id, 'jan');
        PERFORM pg_advisory_xact_lock(hashtextextended('jan audit ' || NEW.chain, 0));
        SELECT sequence, hash INTO last FROM audit_log
        WHERE chain = NEW.chain ORDER BY sequence DESC LIMIT 1;
        NEW.sequence := COALESCE(last.sequence, 0) + 1;
        NEW.previous_hash := COALESCE(last.hash, repeat('0', 64));
        NEW.effective_at := clock_timestamp();
        NEW.hash := encode(sha256(convert_to(concat_ws(E'\\n',
            NEW.previous_hash, NEW.chain, NEW.sequence, NEW.id, NEW.type,
            to_char(NEW.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            COALESCE(NEW.project_id, ''), NEW.actor, NEW.details
        ), 'UTF8')), 'hex');
        PERFORM set_config('jan.scope', COALESCE(scope, ''), true);
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER audit_log_linked BEFORE INSERT ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_link()
    """,
    # The application's role has no right to change rows; this also stops the owner by mistake.
    """
    CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER audit_log_unchanged BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_refuse()
    """,
    """
    CREATE TRIGGER audit_log_untruncated BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()
    """,
)

forwards = Migration(ID, UP, __doc__)
