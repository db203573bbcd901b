-- The newest matches of these games, read from the end of an index: also while a table that has grown
-- fast has no statistics yet, of which the planner would rather sort all matches.
CREATE FUNCTION list_matches(games text[], most bigint)
RETURNS TABLE (match text, game text, players integer, created_ms bigint)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
BEGIN
    IF cardinality(games) = 1 THEN
        RETURN QUERY
        SELECT m.match, m.game, m.players, m.created_ms FROM matches AS m
        WHERE m.game = games[1] ORDER BY m.number DESC LIMIT most;
    ELSE
        RETURN QUERY
        SELECT m.match, m.game, m.players, m.created_ms FROM matches AS m
        WHERE m.game = ANY(games) ORDER BY m.number DESC LIMIT most;
    END IF;
END
$$;
