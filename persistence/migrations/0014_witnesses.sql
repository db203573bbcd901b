-- Who is excused, when Valkey does not answer: everybody, unless another node is a witness that Valkey
-- answers. One to which it does not answer just now is none, nor is one to which it has come back less
-- than a lease ago: the others may be about to find it, and nobody can be buried yet.
ALTER TABLE nodes ADD COLUMN witness boolean NOT NULL DEFAULT true; -- as nodes before this version

-- As in 0011_nodes.sql.
CREATE FUNCTION report_node(
    given_id text, given_generation bigint, valkey_s float8, doubtful boolean, fresh_s float8,
    given_witness boolean
)
RETURNS TABLE (buried text, excused boolean, at_version bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
BEGIN
    IF NOT doubtful THEN
        SET LOCAL synchronous_commit TO off; -- a report that a crash takes back is one that was late
    END IF;
    excused := doubtful AND NOT EXISTS (
        SELECT FROM nodes
        WHERE buried_at IS NULL AND id <> given_id AND witness
          AND valkey_at >= now_at - make_interval(secs => fresh_s)
    );
    UPDATE nodes
    SET beat_at = now_at, generation = given_generation, witness = given_witness,
        valkey_at = greatest(valkey_at, now_at - make_interval(secs => valkey_s)),
        excused_at = CASE WHEN excused THEN clock_timestamp() ELSE excused_at END
    WHERE id = given_id AND buried_at IS NULL;
    IF NOT FOUND THEN
        excused := false;
        buried := coalesce(
            (SELECT n.why FROM nodes AS n WHERE n.id = given_id), 'the register does not know it'
        );
    END IF;
    SELECT version INTO at_version FROM cluster;
    RETURN NEXT;
END
$$;

-- For nodes of the version before, beside which this one may run.
CREATE OR REPLACE FUNCTION report_node(
    given_id text, given_generation bigint, valkey_s float8, doubtful boolean, fresh_s float8
)
RETURNS TABLE (buried text, excused boolean, at_version bigint)
LANGUAGE sql
SET search_path FROM CURRENT
BEGIN ATOMIC
    SELECT * FROM report_node(given_id, given_generation, valkey_s, doubtful, fresh_s, true);
END;
