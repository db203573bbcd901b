-- The register of a cluster's nodes: who is a member of it, and who was. A row is one incarnation; it
-- never comes back. See persistence/postgres/nodes.py.
CREATE SEQUENCE node_generations; -- of Valkey's data: a new number after each flush, restart and failover

CREATE TABLE cluster (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), -- locked by all who change who is a member
    version bigint NOT NULL DEFAULT 0,                -- of the view; grows with each change
    newest bigint NOT NULL DEFAULT 0                  -- the highest incarnation so far
);
INSERT INTO cluster DEFAULT VALUES;

CREATE TABLE nodes (
    id text COLLATE "C" PRIMARY KEY, -- <name>.<incarnation>
    name text COLLATE "C" NOT NULL,
    incarnation bigint NOT NULL,
    generation bigint NOT NULL,      -- of Valkey's data, in which it has claimed all that it holds
    about bytea NOT NULL,            -- what it says of itself
    process text NOT NULL,           -- where it runs
    leaving boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),   -- its last report
    valkey_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- Valkey's last answer to it
    excused_at timestamptz,          -- from then on it may go on for a lease without Valkey
    buried_at timestamptz,
    why text                         -- it was buried
);
CREATE UNIQUE INDEX nodes_living ON nodes (name) WHERE buried_at IS NULL;

-- Admit a node. Its incarnation, or NULL: a node of this name lives. What was buried more than a day ago
-- is forgotten by the way.
CREATE FUNCTION admit_node(
    given_name text, given_generation bigint, given_about bytea, given_process text
) RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    number bigint;
BEGIN
    PERFORM FROM cluster FOR UPDATE;
    IF EXISTS (SELECT FROM nodes WHERE name = given_name AND buried_at IS NULL) THEN
        RETURN NULL;
    END IF;
    DELETE FROM nodes WHERE buried_at < clock_timestamp() - interval '1 day';
    UPDATE cluster SET version = version + 1, newest = newest + 1 RETURNING newest INTO number;
    INSERT INTO nodes (id, name, incarnation, generation, about, process)
    VALUES (given_name || '.' || number, given_name, number, given_generation, given_about,
            given_process);
    RETURN number;
END
$$;

-- A node lives, and Valkey has answered it so long ago. One in doubt is excused, unless Valkey has
-- answered another one just now: then it is the one that is cut off.
CREATE FUNCTION report_node(
    given_id text, given_generation bigint, valkey_s float8, doubtful boolean, fresh_s float8
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
        WHERE buried_at IS NULL AND id <> given_id
          AND valkey_at >= now_at - make_interval(secs => fresh_s)
    );
    UPDATE nodes
    SET beat_at = now_at, generation = given_generation,
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

-- Bury a node, unless it was excused within a lease, or has said that Valkey had answered it; or whoever
-- does it was buried itself. The version of the view without it; NULL: it was not buried now.
CREATE FUNCTION bury_node(given_id text, given_by text, given_why text, lease_s float8)
RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    at_version bigint;
BEGIN
    PERFORM FROM cluster FOR UPDATE;
    IF given_by <> '' AND NOT EXISTS (
        SELECT FROM nodes WHERE id = given_by AND buried_at IS NULL
    ) THEN
        RETURN NULL;
    END IF;
    UPDATE nodes SET buried_at = clock_timestamp(), why = given_why
    WHERE id = given_id AND buried_at IS NULL
      AND greatest(excused_at, valkey_at) <= clock_timestamp() - make_interval(secs => lease_s);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE cluster SET version = version + 1 RETURNING version INTO at_version;
    RETURN at_version;
END
$$;

-- A node is about to leave, or has left. The version of the view.
CREATE FUNCTION leave_node(given_id text, over boolean)
RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    at_version bigint;
BEGIN
    PERFORM FROM cluster FOR UPDATE;
    UPDATE nodes
    SET leaving = true,
        buried_at = CASE WHEN over THEN clock_timestamp() END,
        why = CASE WHEN over THEN 'it has left' END
    WHERE id = given_id AND buried_at IS NULL;
    IF FOUND THEN
        UPDATE cluster SET version = version + 1;
    END IF;
    SELECT version INTO at_version FROM cluster;
    RETURN at_version;
END
$$;

-- The living nodes, behind a first row that says only the version of this view and the newest
-- incarnation.
CREATE FUNCTION read_register()
RETURNS TABLE (
    node_id text, node_name text, node_generation bigint, is_leaving boolean, renewed_s float8,
    node_about bytea, node_process text, at_version bigint, at_newest bigint
)
LANGUAGE sql STABLE
SET search_path FROM CURRENT
BEGIN ATOMIC
    SELECT n.id, n.name, n.generation, n.leaving,
           extract(epoch FROM clock_timestamp() - greatest(n.excused_at, n.valkey_at))::float8,
           n.about, n.process, c.version, c.newest
    FROM cluster AS c LEFT JOIN nodes AS n ON n.buried_at IS NULL;
END;
