-- API keys of back ends. The secret is not kept, only its SHA-256.

CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY, -- the part of the key that is no secret
    name text NOT NULL,
    hash bytea NOT NULL,
    roles text[] NOT NULL, -- of staff, beside that of a player
    scopes text[] NOT NULL, -- the ops that it may call, as storage.read, storage.* or *
    requests_per_s double precision NOT NULL,
    burst double precision NOT NULL,
    created_by text NOT NULL, -- a user, or a key as key-<id>; empty: the command line
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz, -- to the minute
    revoked_at timestamptz
);
