-- The audit log: who did what to whom, and what became of it. Rows are added and never change. What is too
-- old goes with the partition of its month.
CREATE SEQUENCE audit_ids;

CREATE TABLE audit (
    id bigint NOT NULL,
    at timestamptz NOT NULL,
    who text COLLATE "C" NOT NULL,     -- a user, or a key as key-<id>; empty: nobody is known
    as_whom text COLLATE "C" NOT NULL, -- the user on whose behalf a key asked; empty: for itself
    what text COLLATE "C" NOT NULL,
    on_whom text COLLATE "C" NOT NULL, -- the user or the thing that it was done to
    outcome text COLLATE "C" NOT NULL, -- the code of the refusal; empty: it was done
    details text NOT NULL,             -- JSON, without secrets and without what tells of a person
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX audit_who ON audit (who, at, id);
CREATE INDEX audit_as_whom ON audit (as_whom, at, id) WHERE as_whom <> '';
CREATE INDEX audit_on_whom ON audit (on_whom, at, id) WHERE on_whom <> '';
CREATE INDEX audit_what ON audit (what, at, id);

-- The address that an entry came from tells of a person, so it can be deleted.
CREATE TABLE audit_addresses (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    who text COLLATE "C" NOT NULL,
    address text NOT NULL
);
CREATE INDEX audit_addresses_who ON audit_addresses (who);
CREATE INDEX audit_addresses_at ON audit_addresses (at);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are added and never change', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_change(); -- partitions inherit it
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Make the partition of a month, unless it is there.
CREATE FUNCTION open_audit(given_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    month timestamp := date_trunc('month', given_at AT TIME ZONE 'UTC');
    name text := 'audit_' || to_char(month, 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('open_audit'), hashtext(current_schema()));
    IF to_regclass(name) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF audit FOR VALUES FROM (%L) TO (%L)',
            name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
        );
        EXECUTE format(
            'CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name
        );
    END IF;
END
$$;

CREATE FUNCTION record_audit(
    whos text[], as_whoms text[], addresses text[], whats text[], on_whoms text[], outcomes text[],
    details text[]
) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
BEGIN
    PERFORM open_audit(now_at);
    WITH numbered AS MATERIALIZED (
        SELECT nextval('audit_ids') AS id, n.* FROM (
            SELECT * FROM unnest(whos, as_whoms, addresses, whats, on_whoms, outcomes, details)
                WITH ORDINALITY AS g (who, as_whom, address, what, on_whom, outcome, details, place)
            ORDER BY place
        ) AS n
    ), added AS (
        INSERT INTO audit (id, at, who, as_whom, what, on_whom, outcome, details)
        SELECT n.id, now_at, n.who, n.as_whom, n.what, n.on_whom, n.outcome, n.details
        FROM numbered AS n
    )
    INSERT INTO audit_addresses (id, at, who, address)
    SELECT n.id, now_at, n.who, n.address FROM numbered AS n WHERE n.address <> '';
END
$$;

-- Drop the months that are wholly older than this; return how many. And have the next month ready.
CREATE FUNCTION forget_audit(kept_s float8) RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    before timestamptz := clock_timestamp() - make_interval(secs => kept_s);
    oldest text := 'audit_' || to_char(before AT TIME ZONE 'UTC', 'YYYYMM');
    old regclass;
    dropped integer := 0;
BEGIN
    PERFORM open_audit(clock_timestamp() + interval '10 days');
    PERFORM pg_advisory_xact_lock(hashtext('open_audit'), hashtext(current_schema()));
    FOR old IN
        SELECT c.oid::regclass FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit'::regclass AND c.relname COLLATE "C" < oldest
    LOOP
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM audit_addresses WHERE at < before;
    RETURN dropped;
END
$$;
