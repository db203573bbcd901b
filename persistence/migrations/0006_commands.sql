-- Commands: transactions over facts that several entities share. What the frame keeps for them.

-- The answer of every command that bore a key, so that a retry gets it and does not act again.
CREATE TABLE answered_commands (
    service text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL, -- of the command: a key that comes with another one is an error
    answer bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, user_id, key)
);
CREATE INDEX answered_commands_at ON answered_commands (at);

-- Events of commands stand in the one log beside those of actors. They have no incarnation that
-- counts them, so one sequence counts for all; it may skip.
CREATE SEQUENCE emitted_events_seq;

CREATE FUNCTION emit_events(kinds text[], keys text[], types text[], payloads bytea[])
RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
    SELECT kind, key, nextval('emitted_events_seq'), 1, type, payload,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM unnest(kinds, keys, types, payloads) WITH ORDINALITY
        AS n (kind, key, type, payload, place)
    ORDER BY place
$$;

-- A user's inbox: entries with offsets 1, 2, 3 without a gap, whoever writes them.
CREATE TABLE inboxes (
    user_id text COLLATE "C" PRIMARY KEY,
    last_offset bigint NOT NULL,
    read_offset bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80); -- room for updates in place

CREATE TABLE inbox_entries (
    user_id text COLLATE "C" NOT NULL,
    entry_offset bigint NOT NULL,
    type text NOT NULL,
    payload bytea NOT NULL,
    at_us bigint NOT NULL,
    PRIMARY KEY (user_id, entry_offset)
);

-- Writes entries in the order given and returns each user's last offset. Rows of users are locked in
-- the order of their names, so that two of these never wait for one another in a circle.
CREATE FUNCTION push_entries(users text[], types text[], payloads bytea[])
RETURNS TABLE (pushed_user text, pushed_offset bigint)
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    WITH incoming AS MATERIALIZED (
        SELECT user_id COLLATE "C" AS user_id, type, payload,
               row_number() OVER (PARTITION BY user_id ORDER BY place) AS nth
        FROM unnest(users, types, payloads) WITH ORDINALITY AS n (user_id, type, payload, place)
    ), counted AS (
        INSERT INTO inboxes AS i (user_id, last_offset)
        SELECT user_id, count(*) FROM incoming GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET last_offset = i.last_offset + excluded.last_offset
        RETURNING user_id, last_offset
    ), written AS (
        INSERT INTO inbox_entries (user_id, entry_offset, type, payload, at_us)
        SELECT n.user_id,
               c.last_offset - (SELECT count(*) FROM incoming AS m WHERE m.user_id = n.user_id)
                   + n.nth,
               n.type, n.payload, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
        FROM incoming AS n JOIN counted AS c USING (user_id)
    )
    SELECT user_id, last_offset FROM counted
$$;
