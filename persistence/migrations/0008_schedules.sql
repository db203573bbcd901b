-- Durable schedules: at this time, tell (kind, key) that. One row each until its target has
-- acknowledged it; see persistence/schedules/.
CREATE TABLE schedules (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL, -- one of this name at a time for a target
    id bigint NOT NULL,             -- of this setting: one that is set again or moved has another
    due_us bigint NOT NULL,         -- what it was set to; microseconds since 1970, UTC
    next_us bigint NOT NULL,        -- when to look at it: when it is due, then when a claim lapses or
                                    -- the next attempt is to be made. One column, so one index
    attempts integer NOT NULL DEFAULT 0,
    payload bytea NOT NULL,
    PRIMARY KEY (kind, key, name)
) WITH (
    -- Rows come and go at the near end of the index, and every look begins there: what is dead must
    -- not wait until it is a fifth of a million rows that do nothing.
    autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 10000
);
CREATE INDEX schedules_next ON schedules (next_us);

-- What PostgreSQL's clock says; or in tests, whose clock is another, what is given.
CREATE FUNCTION unix_us(given_us bigint) RETURNS bigint
LANGUAGE sql VOLATILE
RETURN coalesce(given_us, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

-- Set schedules, in the order given; those that are there under the name are replaced. `ats` says when,
-- or where it is NULL, `afters` how many microseconds from now. An id that is NULL in the answer: the
-- target has `most` others. Two who set at the same moment may both find room for one.
CREATE FUNCTION set_schedules(
    kinds text[], keys text[], names text[], ids bigint[], ats bigint[], afters bigint[],
    payloads bytea[], most bigint, given_us bigint
) RETURNS TABLE (place bigint, set_id bigint, set_due_us bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    now_us bigint := unix_us(given_us);
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    FOR i IN 1 .. cardinality(ids) LOOP
        place := i;
        set_id := ids[i];
        set_due_us := coalesce(ats[i], now_us + afters[i]);
        UPDATE schedules AS s
        SET id = set_id, due_us = set_due_us, next_us = set_due_us, attempts = 0,
            payload = payloads[i]
        WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i];
        IF NOT FOUND THEN
            IF most <= (
                SELECT count(*) FROM (
                    SELECT FROM schedules AS s
                    WHERE s.kind = kinds[i] AND s.key = keys[i] LIMIT most
                ) AS there
            ) THEN
                set_id := NULL;
            ELSE
                INSERT INTO schedules (kind, key, name, id, due_us, next_us, payload)
                VALUES (kinds[i], keys[i], names[i], set_id, set_due_us, set_due_us, payloads[i])
                ON CONFLICT (kind, key, name) DO UPDATE
                SET id = excluded.id, due_us = excluded.due_us, next_us = excluded.next_us,
                    attempts = 0, payload = excluded.payload;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Give schedules another time, and with it another id. Those that are there come back.
CREATE FUNCTION move_schedules(
    kinds text[], keys text[], names text[], ids bigint[], ats bigint[], afters bigint[],
    given_us bigint
) RETURNS TABLE (place bigint, set_id bigint, set_due_us bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    now_us bigint := unix_us(given_us);
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    FOR i IN 1 .. cardinality(ids) LOOP
        place := i;
        set_id := ids[i];
        set_due_us := coalesce(ats[i], now_us + afters[i]);
        UPDATE schedules AS s
        SET id = set_id, due_us = set_due_us, next_us = set_due_us, attempts = 0
        WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i];
        IF FOUND THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- Take schedules out; an id of NULL: whichever is there. The places of those that were there.
CREATE FUNCTION cancel_schedules(kinds text[], keys text[], names text[], ids bigint[])
RETURNS TABLE (place bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    FOR i IN 1 .. cardinality(names) LOOP
        place := i;
        DELETE FROM schedules AS s
        WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i]
          AND s.id = coalesce(ids[i], s.id);
        IF FOUND THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- The first `room` schedules that are due and that nobody has claimed, claimed for so long; behind a
-- first row that says only what time it is and when the next of the others is to be looked at. A row
-- that somebody works on is passed over: no two claim one, and none waits here for a long transaction.
-- The commit is not waited for: a claim that a crash of PostgreSQL undoes is an attempt more.
CREATE FUNCTION claim_schedules(room bigint, claim_us bigint, given_us bigint)
RETURNS TABLE (
    claimed_kind text, claimed_key text, claimed_name text, claimed_id bigint,
    claimed_due_us bigint, attempt integer, claimed_payload bytea, now_us bigint, later_us bigint
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    at_us bigint := unix_us(given_us);
BEGIN
    SET LOCAL synchronous_commit TO off;
    RETURN QUERY
        UPDATE schedules AS s SET next_us = at_us + claim_us, attempts = s.attempts + 1
        -- By place: a plan that does not know how many there will be joins the whole table by name.
        WHERE s.ctid = ANY (ARRAY(
            SELECT d.ctid FROM schedules AS d
            WHERE d.next_us <= at_us ORDER BY d.next_us LIMIT room FOR UPDATE SKIP LOCKED
        ))
        RETURNING s.kind, s.key, s.name, s.id, s.due_us, s.attempts, s.payload, at_us, 0::bigint;
    RETURN QUERY
        SELECT NULL, NULL, NULL, NULL::bigint, NULL::bigint, NULL::integer, NULL::bytea, at_us,
               (SELECT s.next_us FROM schedules AS s ORDER BY s.next_us LIMIT 1);
END
$$;

-- What became of claimed schedules. Where `waits` is NULL it is over with them; the others are looked at
-- again in so many microseconds, and where `kept` the attempt does not count. What was set again,
-- moved, cancelled or claimed by another since is left as it is. Returns the places of those that somebody
-- works on, to be told again.
CREATE FUNCTION settle_schedules(
    kinds text[], keys text[], names text[], ids bigint[], tries bigint[], waits bigint[],
    kept boolean[], given_us bigint
) RETURNS TABLE (place bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    at_us bigint := unix_us(given_us);
BEGIN
    SET LOCAL synchronous_commit TO off;
    FOR i IN 1 .. cardinality(ids) LOOP
        PERFORM FROM schedules AS s
        WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i] AND s.id = ids[i]
        FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            IF waits[i] IS NULL THEN
                DELETE FROM schedules AS s
                WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i];
            ELSE
                UPDATE schedules AS s
                SET next_us = at_us + waits[i],
                    attempts = s.attempts - CASE WHEN kept[i] THEN 1 ELSE 0 END
                WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i]
                  AND s.attempts = tries[i];
            END IF;
        ELSIF EXISTS (
            SELECT FROM schedules AS s
            WHERE s.kind = kinds[i] AND s.key = keys[i] AND s.name = names[i] AND s.id = ids[i]
        ) THEN
            place := i;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
