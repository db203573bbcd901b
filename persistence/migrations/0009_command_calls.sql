-- What the frame around commands asks for in every transaction, as functions: one round trip each,
-- whose plan every backend keeps, also behind a pooler, where no statement can stay prepared. As in
-- 0002_calls.sql: this schema's names, and one plan, over the primary key.

-- Take locks, in the order given; then say which of the names have been answered before: the place in
-- the arrays, from 1, of each that was. The look-up is a statement of its own, so it sees what those
-- have committed whom the locks were waited for.
CREATE FUNCTION begin_commands(locks bigint[], services text[], users text[], keys text[])
RETURNS TABLE (place bigint, request_hash bytea, answer bytea)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(number) FROM unnest(locks) AS number;
    RETURN QUERY
        SELECT n.place, there.request_hash, there.answer
        FROM unnest(services, users, keys) WITH ORDINALITY AS n (service, user_id, key, place)
        CROSS JOIN LATERAL (
            SELECT a.request_hash, a.answer FROM answered_commands AS a
            WHERE a.service = n.service AND a.user_id = n.user_id AND a.key = n.key
            OFFSET 0 -- keeps it a look-up for each, whatever the table's size was when it was planned
        ) AS there;
END
$$;

-- The last transaction of each worker, in its own numbers: by it the end of one can be looked up though
-- the answer to its commit is lost. PostgreSQL's number would not do: after a crash another gets it.
CREATE TABLE command_workers (
    worker text COLLATE "C" PRIMARY KEY,
    number bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10); -- each row is written all the time, and in place

-- Keep answers, in the order given, and the number of the transaction. Whether there was something to
-- commit; if not, the number is not kept either.
CREATE FUNCTION remember_answers(
    mine text, mine_number bigint,
    services text[], users text[], keys text[], hashes bytea[], answers bytea[]
) RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    INSERT INTO answered_commands (service, user_id, key, request_hash, answer)
    SELECT * FROM unnest(services, users, keys, hashes, answers);
    IF pg_current_xact_id_if_assigned() IS NULL THEN
        RETURN false;
    END IF;
    UPDATE command_workers AS w SET number = mine_number, at = now()
    WHERE w.worker = mine AND w.number < mine_number;
    IF NOT FOUND THEN -- the worker's first, or has_committed() has said no
        INSERT INTO command_workers (worker, number) VALUES (mine, mine_number);
    END IF;
    RETURN true;
END
$$;

-- Whether the transaction of this number has committed. Waits for one that is still under way; one that
-- has not committed never will, once the answer no has.
CREATE FUNCTION has_committed(mine text, mine_number bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    last bigint;
BEGIN
    INSERT INTO command_workers (worker, number) VALUES (mine, mine_number - 1)
    ON CONFLICT DO NOTHING;
    SELECT w.number INTO last FROM command_workers AS w WHERE w.worker = mine FOR UPDATE;
    IF last < mine_number THEN
        UPDATE command_workers AS w SET number = mine_number + 1 WHERE w.worker = mine;
    END IF;
    RETURN last = mine_number;
END
$$;
