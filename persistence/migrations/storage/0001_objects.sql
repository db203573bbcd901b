-- Players' objects: rows, changed by commands that hold the lock of the objects' user.

-- Versions of all objects come from one sequence, so that no object has one twice, though it was
-- deleted and made again.
CREATE SEQUENCE storage_versions;

CREATE TABLE storage_objects (
    user_id text COLLATE "C" NOT NULL, -- whose; empty: the server's own
    collection text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text NOT NULL, -- JSON, as it was sent: jsonb would round numbers and reorder keys
    size integer NOT NULL, -- what it counts towards its user's bytes
    version bigint NOT NULL,
    readers smallint NOT NULL CHECK (readers BETWEEN 0 AND 2), -- 0 nobody, 1 the owner, 2 everyone
    writers smallint NOT NULL CHECK (writers BETWEEN 0 AND 1), -- 0 nobody, 1 the owner
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, collection, key)
);

-- A collection's public objects, of all users, in the order in which they are listed.
CREATE INDEX storage_objects_public ON storage_objects (collection, key, user_id)
WHERE readers = 2;

-- What the objects of a user come to: changed with them, so that a quota costs one row to look at.
CREATE TABLE storage_usage (
    user_id text COLLATE "C" PRIMARY KEY,
    objects bigint NOT NULL CHECK (objects >= 0),
    size bigint NOT NULL CHECK (size >= 0)
) WITH (fillfactor = 80); -- room for updates in place
