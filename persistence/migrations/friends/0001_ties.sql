-- Ties between users, and blocks. Every command that changes a row holds the locks of both users.

-- Each tie has two rows, one from each side: friend and friend, or requested and asked.
CREATE TABLE friend_ties (
    user_id text COLLATE "C" NOT NULL,
    other_id text COLLATE "C" NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 2), -- 0 friend, 1 requested, 2 asked
    since_ms bigint NOT NULL, -- since 1970, by PostgreSQL's clock
    PRIMARY KEY (user_id, other_id),
    CHECK (user_id <> other_id)
);

-- The graph of friends, walked without a look into the table.
CREATE INDEX friend_ties_friends ON friend_ties (user_id, other_id) WHERE state = 0;

-- The user gets nothing of the other.
CREATE TABLE friend_blocks (
    user_id text COLLATE "C" NOT NULL,
    other_id text COLLATE "C" NOT NULL,
    since_ms bigint NOT NULL,
    PRIMARY KEY (user_id, other_id),
    CHECK (user_id <> other_id)
);
CREATE INDEX friend_blocks_of_other ON friend_blocks (other_id, user_id);

-- Whose blocks have changed, and when. All nodes look here.
CREATE TABLE friend_block_changes (
    user_id text COLLATE "C" PRIMARY KEY,
    changed_at timestamptz NOT NULL
);
CREATE INDEX friend_block_changes_at ON friend_block_changes (changed_at);
