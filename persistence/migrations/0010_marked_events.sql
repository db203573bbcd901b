-- Finding and changing what an event holds, for those who must erase it: the log is append-only for all
-- else. Payloads are opaque here, so a search is for bytes, and whoever asks reads what is found.

-- The events of a kind behind (after_key, after_seq), in order, whose payload contains `mark`: of the next
-- `most` events, and none once `bytes` of payload have come together. A last row without a payload says
-- up to where that was; without it the kind has no more events. No index: one would cost every append,
-- and nobody waits for this. A million events take some seconds, or half a minute if they are not in memory.
CREATE FUNCTION marked_events(
    of_kind text, mark bytea, after_key text, after_seq bigint, most bigint, bytes bigint
) RETURNS TABLE (
    key text, seq bigint, epoch bigint, type text, payload bytea, at_us bigint
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    one record;
    looked bigint := 0;
    room bigint := bytes;
BEGIN
    FOR one IN
        SELECT e.key, e.seq, e.epoch, e.type, e.payload, e.at_us FROM events AS e
        WHERE e.kind = of_kind AND (e.key, e.seq) > (after_key COLLATE "C", after_seq)
        ORDER BY e.kind, e.key, e.seq LIMIT most
    LOOP
        looked := looked + 1;
        key := one.key;
        seq := one.seq;
        IF position(mark IN one.payload) > 0 THEN
            epoch := one.epoch;
            type := one.type;
            payload := one.payload;
            at_us := one.at_us;
            RETURN NEXT;
            room := room - octet_length(payload);
            EXIT WHEN room <= 0;
        END IF;
    END LOOP;
    IF looked = most OR room <= 0 THEN
        payload := NULL;
        RETURN NEXT;
    END IF;
END
$$;

-- Give events other payloads, in place: their seq, epoch, time and position in the log stay. Those that
-- are gone are passed over; returns how many there were. Locks are taken in the order of names.
CREATE FUNCTION rewrite_events(kinds text[], keys text[], seqs bigint[], payloads bytea[])
RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    rewritten bigint := 0;
    one record;
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit TO on;
    END IF;
    FOR one IN
        SELECT n.kind, n.key, n.seq, n.payload
        FROM unnest(kinds, keys, seqs, payloads) AS n (kind, key, seq, payload)
        ORDER BY n.kind COLLATE "C", n.key COLLATE "C", n.seq
    LOOP
        UPDATE events AS e SET payload = one.payload
        WHERE e.kind = one.kind AND e.key = one.key AND e.seq = one.seq;
        IF FOUND THEN
            rewritten := rewritten + 1;
        END IF;
    END LOOP;
    RETURN rewritten;
END
$$;
