-- What the server asks for all the time, as functions: one call is one transaction, sent and answered
-- in one round trip, and needs nothing of the session it runs in. Behind a pooler that is another
-- one each time, with whatever its other users left there: a search_path, temporary tables of our
-- names, synchronous_commit = off. What stands here is the plan too, kept by each backend: to plan
-- an append anew takes 0.3 ms, three times its work.
--
-- Every function keeps the search_path of this migration: this schema, and temporary tables last. And
-- one plan, over the primary keys: made while a table was small, it would read all of it later.

-- All or nothing, and how many rows that was. The condition is one for all rows, so every lock is
-- held before the first row goes in; a seq that is taken, even by a row which our snapshot does not
-- show, ends it with unique_violation.
--
-- Share locks, so that nodes append at the same time, but an activation waits until the append has
-- committed, or is seen by it: a row that changed while we waited for its lock is read again as it
-- is then, whatever our snapshot says (READ COMMITTED). MATERIALIZED keeps the comparison out of
-- the part that locks: pushed in there it would pass over the very rows that have to be held. Always
-- in the order of names, as the activations too: so they never wait for one another in a circle.
CREATE FUNCTION append_events(
    kinds text[], keys text[], seqs bigint[], epochs bigint[],
    types text[], payloads bytea[], ats bigint[]
) RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    written bigint;
BEGIN
    -- An acknowledgement means durable: the operator's choice counts, not what the session's last
    -- user wished, and `off` is raised to `on`.
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    WITH incoming AS MATERIALIZED (
        SELECT kind COLLATE "C" AS kind, key COLLATE "C" AS key, seq, epoch, type, payload, at_us
        FROM unnest(kinds, keys, seqs, epochs, types, payloads, ats)
            AS n (kind, key, seq, epoch, type, payload, at_us)
    ), held AS MATERIALIZED (
        SELECT mine.epoch, newest.epoch AS newest_epoch
        FROM (SELECT DISTINCT kind, key, epoch FROM incoming ORDER BY kind, key, epoch) AS mine
        CROSS JOIN LATERAL (
            SELECT epoch FROM incarnations AS i
            WHERE i.kind = mine.kind AND i.key = mine.key FOR SHARE
        ) AS newest
    )
    INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
    SELECT kind, key, seq, epoch, type, payload, at_us FROM incoming
    WHERE NOT EXISTS (SELECT FROM held WHERE newest_epoch > epoch)
    ORDER BY kind, key, seq;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- The same where some of the rows may be there already, sent again or another incarnation's, or
-- belong to an incarnation that has been overtaken. Writes all rows but those of incarnations which
-- a later one follows, or of which another holds a seq; returns the places of these in the arrays,
-- from 1. Rare, so that it is planned anew each time.
CREATE FUNCTION append_apart(
    kinds text[], keys text[], seqs bigint[], epochs bigint[],
    types text[], payloads bytea[], ats bigint[]
) RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    fenced bigint[];
    beaten bigint[];
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    PERFORM FROM (
        SELECT DISTINCT kind COLLATE "C" AS kind, key COLLATE "C" AS key
        FROM unnest(kinds, keys) AS n (kind, key) ORDER BY kind, key
    ) AS mine
    CROSS JOIN LATERAL (
        SELECT FROM incarnations AS i WHERE i.kind = mine.kind AND i.key = mine.key FOR SHARE
    ) AS held;
    SELECT coalesce(array_agg(mine.place), '{}') INTO fenced
    FROM unnest(kinds, keys, epochs) WITH ORDINALITY AS mine (kind, key, epoch, place)
    JOIN incarnations AS i ON i.kind = mine.kind AND i.key = mine.key
    WHERE i.epoch > mine.epoch;
    LOOP
        BEGIN
            INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
            SELECT kind, key, seq, epoch, type, payload, at_us
            FROM unnest(kinds, keys, seqs, epochs, types, payloads, ats) WITH ORDINALITY
                AS mine (kind, key, seq, epoch, type, payload, at_us, place)
            WHERE place <> ALL (fenced)
            ORDER BY kind COLLATE "C", key COLLATE "C", seq
            ON CONFLICT DO NOTHING;
            WITH mine AS MATERIALIZED (
                SELECT * FROM unnest(kinds, keys, seqs, epochs) WITH ORDINALITY
                    AS n (kind, key, seq, epoch, place)
                WHERE place <> ALL (fenced)
            ), losers AS MATERIALIZED (
                SELECT DISTINCT mine.kind, mine.key, mine.epoch FROM mine
                JOIN events AS there
                    ON there.kind = mine.kind AND there.key = mine.key AND there.seq = mine.seq
                WHERE there.epoch <> mine.epoch
            )
            SELECT array_agg(mine.place) INTO beaten
            FROM mine JOIN losers USING (kind, key, epoch);
            IF beaten IS NULL THEN
                RETURN fenced;
            END IF;
            -- Some of theirs are in by now: take back all, and write the others.
            RAISE EXCEPTION USING ERRCODE = 'GR001';
        EXCEPTION WHEN SQLSTATE 'GR001' THEN
            fenced := fenced || beaten;
        END;
    END LOOP;
END
$$;

-- Begin `times` incarnations of each name; each comes back with the epoch of its last one.
CREATE FUNCTION activate(kinds text[], keys text[], times bigint[])
RETURNS TABLE (kind text, key text, epoch bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    RETURN QUERY
        INSERT INTO incarnations AS i (kind, key, epoch)
        SELECT * FROM unnest(kinds, keys, times) AS n (kind, key, times)
        ORDER BY kind COLLATE "C", key COLLATE "C"
        ON CONFLICT (kind, key) DO UPDATE SET epoch = i.epoch + excluded.epoch
        RETURNING i.kind, i.key, i.epoch;
END
$$;

-- For each place in the arrays: the first `limits` events of a name with a seq above `afters`, ascending,
-- but none once `bytes` of payload have come together. A loop, which stops there; a window over the
-- page reads on, and costs a single small read as much again.
CREATE FUNCTION read_after(
    kinds text[], keys text[], afters bigint[], limits bigint[], bytes bigint[]
) RETURNS TABLE (
    place bigint, seq bigint, epoch bigint, type text, payload bytea, at_us bigint
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    room bigint;
BEGIN
    FOR i IN 1 .. cardinality(keys) LOOP
        place := i;
        room := bytes[i];
        FOR seq, epoch, type, payload, at_us IN
            SELECT e.seq, e.epoch, e.type, e.payload, e.at_us FROM events AS e
            WHERE e.kind = kinds[i] AND e.key = keys[i] AND e.seq > afters[i]
            ORDER BY e.seq LIMIT limits[i]
        LOOP
            RETURN NEXT;
            room := room - octet_length(payload);
            EXIT WHEN room <= 0;
        END LOOP;
    END LOOP;
END
$$;

-- The same downwards: the last `limits` events with a seq below `befores`, descending.
CREATE FUNCTION read_before(
    kinds text[], keys text[], befores bigint[], limits bigint[], bytes bigint[]
) RETURNS TABLE (
    place bigint, seq bigint, epoch bigint, type text, payload bytea, at_us bigint
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    room bigint;
BEGIN
    FOR i IN 1 .. cardinality(keys) LOOP
        place := i;
        room := bytes[i];
        FOR seq, epoch, type, payload, at_us IN
            SELECT e.seq, e.epoch, e.type, e.payload, e.at_us FROM events AS e
            WHERE e.kind = kinds[i] AND e.key = keys[i] AND e.seq < befores[i]
            ORDER BY e.seq DESC LIMIT limits[i]
        LOOP
            RETURN NEXT;
            room := room - octet_length(payload);
            EXIT WHEN room <= 0;
        END LOOP;
    END LOOP;
END
$$;

-- The newest seq of each name that has one.
CREATE FUNCTION last_seqs(kinds text[], keys text[]) RETURNS TABLE (place bigint, seq bigint)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT asked.place, last.seq
        FROM unnest(kinds, keys) WITH ORDINALITY AS asked (kind, key, place)
        CROSS JOIN LATERAL (
            SELECT e.seq FROM events AS e WHERE e.kind = asked.kind AND e.key = asked.key
            ORDER BY e.seq DESC LIMIT 1
        ) AS last;
END
$$;
