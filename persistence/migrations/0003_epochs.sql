-- The newest epoch of each name that was ever activated, for those who only look.
CREATE FUNCTION epochs(kinds text[], keys text[]) RETURNS TABLE (place bigint, epoch bigint)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT asked.place, i.epoch
        FROM unnest(kinds, keys) WITH ORDINALITY AS asked (kind, key, place)
        JOIN incarnations AS i ON i.kind = asked.kind AND i.key = asked.key;
END
$$;
