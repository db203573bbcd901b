-- Webhooks: back ends that want to know, and what is on its way to them. A command announces in its own
-- transaction, so what was announced took place, and nothing that took place is not announced.
CREATE TABLE webhooks (
    id text COLLATE "C" PRIMARY KEY,
    url text NOT NULL,
    events text[] NOT NULL, -- types of events, or *
    secret bytea NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    stopped text, -- why nothing more is sent; null: it is
    full_at timestamptz, -- since when too much waits for it, so that new events are left out; null: it does not
    last_at timestamptz, -- of the last try
    last_outcome text NOT NULL DEFAULT ''
);

CREATE TABLE webhook_deliveries (
    id text COLLATE "C" PRIMARY KEY,
    webhook_id text COLLATE "C" NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    type text NOT NULL,
    body text NOT NULL, -- as it is signed and sent
    created_at timestamptz NOT NULL,
    next_at timestamptz, -- when it is tried next; null: it is dead
    dead_at timestamptz, -- when it was given up
    attempts integer NOT NULL DEFAULT 0,
    last_outcome text NOT NULL DEFAULT ''
);
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (dead_at) WHERE dead_at IS NOT NULL;

-- Announce events, as JSON objects, to the webhooks that want them.
CREATE FUNCTION announce_events(types text[], datas text[]) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    INSERT INTO webhook_deliveries (id, webhook_id, type, body, created_at, next_at)
    SELECT 'msg_' || replace(gen_random_uuid()::text, '-', ''), w.id, n.type,
           '{"type":' || to_json(n.type) || ',"timestamp":"'
               || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
               || '","data":' || n.data || '}',
           clock_timestamp(), clock_timestamp()
    FROM unnest(types, datas) WITH ORDINALITY AS n (type, data, place)
    JOIN webhooks AS w
        ON w.stopped IS NULL AND w.full_at IS NULL AND w.events && ARRAY[n.type, '*']
    ORDER BY n.place
$$;
