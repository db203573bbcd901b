-- Every event of every persistent actor. The primary key is the fence: of two incarnations that
-- write the same seq, one loses. Names compare bytewise, whatever the database's collation.
CREATE TABLE events (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    epoch bigint NOT NULL CHECK (epoch > 0),
    type text NOT NULL,
    payload bytea NOT NULL,
    at_us bigint NOT NULL,
    PRIMARY KEY (kind, key, seq)
);

-- The newest incarnation of every actor that was ever activated. Its row is locked by whoever
-- appends or activates, so that after an activation no older incarnation can write any more.
CREATE TABLE incarnations (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL CHECK (epoch > 0),
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 80); -- room for updates in place: an activation touches no index

-- What all nodes of one server must agree on and nobody else may know, e.g. the signing key of
-- session tokens.
CREATE TABLE secrets (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
