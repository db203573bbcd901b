-- One step of forgetting old history: over the next `names` names of a kind after `after_key`, the
-- oldest events beyond the last `kept` and those written before `before_us` go, `most` at a time.
-- The newest event of a name always stays: it says where its log stands. What stays begins anywhere
-- and has no gap. `reached` is the last name that is done; NULL when there is none after it.
CREATE FUNCTION trim_logs(
    of_kind text, after_key text, names bigint, kept bigint, before_us bigint, most bigint
) RETURNS TABLE (reached text, deleted bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
DECLARE
    one text;
    newest bigint;
    cut bigint;
    looked bigint;
    gone bigint;
BEGIN
    deleted := 0;
    FOR one IN
        SELECT i.key FROM incarnations AS i WHERE i.kind = of_kind AND i.key > after_key
        ORDER BY i.key LIMIT names
    LOOP
        SELECT e.seq INTO newest FROM events AS e
        WHERE e.kind = of_kind AND e.key = one ORDER BY e.seq DESC LIMIT 1;
        IF newest IS NOT NULL THEN
            -- The first that is to stay, of those looked at; a clock that was set back makes no gap.
            SELECT coalesce(
                    min(page.seq) FILTER (
                        WHERE page.seq > newest - kept AND page.at_us >= before_us
                    ),
                    max(page.seq) + 1
                ), count(*)
            INTO cut, looked
            FROM (
                SELECT e.seq, e.at_us FROM events AS e
                WHERE e.kind = of_kind AND e.key = one AND e.seq < newest
                ORDER BY e.seq LIMIT most - deleted
            ) AS page;
            IF looked > 0 THEN
                DELETE FROM events AS e WHERE e.kind = of_kind AND e.key = one AND e.seq < cut;
                GET DIAGNOSTICS gone = ROW_COUNT;
                deleted := deleted + gone;
                EXIT WHEN deleted >= most;
            END IF;
        END IF;
        reached := one;
    END LOOP;
    IF reached IS NULL AND deleted > 0 THEN
        reached := after_key; -- the first name is not done
    END IF;
    RETURN NEXT;
END
$$;

-- One step of the same for what has ended for good, which leaves nothing: names whose newest event is
-- a `last_type`, written before `before_us`, go with all their events and their incarnation.
CREATE FUNCTION drop_ended(
    of_kind text, last_type text, after_key text, names bigint, before_us bigint
) RETURNS TABLE (reached text, deleted bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
DECLARE
    one text;
    newest record;
BEGIN
    deleted := 0;
    FOR one IN
        SELECT i.key FROM incarnations AS i WHERE i.kind = of_kind AND i.key > after_key
        ORDER BY i.key LIMIT names
    LOOP
        SELECT e.type, e.at_us INTO newest FROM events AS e
        WHERE e.kind = of_kind AND e.key = one ORDER BY e.seq DESC LIMIT 1;
        IF newest.type = last_type AND newest.at_us < before_us THEN
            DELETE FROM events AS e WHERE e.kind = of_kind AND e.key = one;
            DELETE FROM incarnations AS i WHERE i.kind = of_kind AND i.key = one;
            deleted := deleted + 1;
        END IF;
        reached := one;
    END LOOP;
    RETURN NEXT;
END
$$;
