-- Up to where each user has read, in a table of its own: a command that marks an inbox as read must not
-- lock the row that pushes to it lock, or two transactions that do both could wait for one another.
CREATE TABLE inbox_reads (
    user_id text COLLATE "C" PRIMARY KEY,
    read_offset bigint NOT NULL
) WITH (fillfactor = 80); -- room for updates in place
ALTER TABLE inboxes DROP COLUMN read_offset; -- nothing has ever written it

-- One step of forgetting: over the next `names` inboxes after `after_user`, the oldest entries beyond the
-- last `kept` and those written before `before_us` go, `most` at a time. What stays has no gap, and an
-- inbox that has none left still knows its last offset. `reached` is the last user that is done; NULL
-- when there is none after it.
CREATE FUNCTION trim_inboxes(
    after_user text, names bigint, kept bigint, before_us bigint, most bigint
) RETURNS TABLE (reached text, deleted bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
DECLARE
    one record;
    entry record;
    cut bigint;
    looked bigint;
BEGIN
    deleted := 0;
    FOR one IN
        SELECT i.user_id, i.last_offset FROM inboxes AS i WHERE i.user_id > after_user
        ORDER BY i.user_id LIMIT names
    LOOP
        cut := NULL;
        looked := 0;
        -- A loop reads a few rows at a time: where the oldest is to stay, that is all it costs.
        FOR entry IN
            SELECT e.entry_offset, e.at_us FROM inbox_entries AS e
            WHERE e.user_id = one.user_id ORDER BY e.entry_offset LIMIT most - deleted
        LOOP
            EXIT WHEN entry.entry_offset > one.last_offset - kept AND entry.at_us >= before_us;
            cut := entry.entry_offset;
            looked := looked + 1;
        END LOOP;
        IF cut IS NOT NULL THEN
            DELETE FROM inbox_entries AS e
            WHERE e.user_id = one.user_id AND e.entry_offset <= cut;
            deleted := deleted + looked;
            EXIT WHEN deleted >= most;
        END IF;
        reached := one.user_id;
    END LOOP;
    IF reached IS NULL AND deleted > 0 THEN
        reached := after_user; -- the first user is not done
    END IF;
    RETURN NEXT;
END
$$;
