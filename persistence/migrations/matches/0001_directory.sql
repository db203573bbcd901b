-- The directory of matches: a row for each that runs. It is written by commands that hold one lock.

CREATE TABLE matches (
    match text COLLATE "C" PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY, -- in the order of their creation
    game text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL, -- who had it made
    key bytea, -- the idempotency key that it was made with, in UTF-8, which may hold a NUL
    address text COLLATE "C", -- of the client; NULL: it has no limits
    created_ms bigint NOT NULL, -- since 1970, by PostgreSQL's clock
    start bytea, -- what the match is made of; NULL once it is known to be made
    players integer NOT NULL DEFAULT 0, -- of a moment ago: written now and then
    joined boolean NOT NULL DEFAULT false, -- whether anybody ever was a player
    UNIQUE (user_id, key) -- also for those of one user
) WITH (fillfactor = 80); -- room for updates in place

-- As they are listed: all, and those of one game.
CREATE INDEX matches_newest ON matches (number);
CREATE INDEX matches_newest_of_game ON matches (game, number);
CREATE INDEX matches_of_address ON matches (address) WHERE address IS NOT NULL;
-- The first that will end if nobody joins it, and those that nobody has made.
CREATE INDEX matches_unjoined ON matches (created_ms) WHERE NOT joined;
CREATE INDEX matches_unmade ON matches (created_ms) WHERE start IS NOT NULL;

-- The keys of matches that have ended, for retries that come late.
CREATE TABLE ended_match_keys (
    user_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    match text COLLATE "C" NOT NULL,
    ended_ms bigint NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX ended_match_keys_oldest ON ended_match_keys (ended_ms);

-- What there is one of. The directory was an actor, whose log a server takes over before it creates
-- matches; in a database without such a log there is nothing to be taken over.
CREATE TABLE match_directory (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    running bigint NOT NULL CHECK (running >= 0), -- the number of rows of matches
    taken_over boolean NOT NULL
) WITH (fillfactor = 50);
INSERT INTO match_directory (running, taken_over)
SELECT 0, NOT EXISTS (SELECT FROM events WHERE kind = 'directory' AND key = 'matches');
