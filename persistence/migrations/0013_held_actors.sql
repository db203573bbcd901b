-- Actors whose code a node was caught in, so that it had to be killed. No node starts such an actor before
-- its time: it would take one node after the other with it. See persistence/postgres/held.py.
CREATE TABLE held_actors (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    hangs integer NOT NULL,            -- how often, the last time included
    node text NOT NULL,                -- the last node that was caught
    hung_at timestamptz NOT NULL,
    held_until timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Hold an actor: at first for so long, and after each further hang ten times longer, up to a day. What has
-- not hung for a day after it was released begins anew. Nodes hear of it with the next view; a view without
-- the node that hung is a later one.
CREATE FUNCTION hold_actor(given_kind text, given_key text, given_node text, first_s float8)
RETURNS TABLE (times integer, for_s float8)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM cluster FOR UPDATE;
    DELETE FROM held_actors WHERE held_until < now_at - interval '1 day';
    INSERT INTO held_actors AS h (kind, key, hangs, node, hung_at, held_until)
    VALUES (given_kind, given_key, 1, given_node, now_at, now_at + make_interval(secs => first_s))
    ON CONFLICT (kind, key) DO UPDATE
    SET hangs = h.hangs + 1, node = given_node, hung_at = now_at,
        held_until = now_at + make_interval(
            secs => least(86400.0, first_s * power(10.0, least(h.hangs, 9)))
        )
    RETURNING h.hangs, extract(epoch FROM h.held_until - now_at)::float8 INTO times, for_s;
    UPDATE cluster SET version = version + 1;
    RETURN NEXT;
END
$$;
