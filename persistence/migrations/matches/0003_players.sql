-- Who has joined which match, for those who ask with whom they have played. It is written now and then,
-- and says nothing of who plays: that is in the logs of matches.
CREATE TABLE match_players (
    user_id text COLLATE "C" NOT NULL,
    match text COLLATE "C" NOT NULL,
    joined_ms bigint NOT NULL, -- since 1970, by PostgreSQL's clock: the last time
    PRIMARY KEY (user_id, match)
);
CREATE INDEX match_players_of_user ON match_players (user_id, joined_ms);
CREATE INDEX match_players_of_match ON match_players (match, joined_ms);
CREATE INDEX match_players_oldest ON match_players (joined_ms);
