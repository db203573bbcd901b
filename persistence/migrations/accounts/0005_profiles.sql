-- What users tell of themselves, and the usernames that are taken.
ALTER TABLE accounts
    ADD COLUMN username text COLLATE "C",
    ADD COLUMN username_folded text COLLATE "C",  -- by which it is searched
    ADD COLUMN avatar_url text NOT NULL DEFAULT '',
    ADD COLUMN language text NOT NULL DEFAULT '',
    ADD COLUMN time_zone text NOT NULL DEFAULT '',
    ADD COLUMN public_metadata text NOT NULL DEFAULT '{}',
    ADD COLUMN private_metadata text NOT NULL DEFAULT '{}',
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
CREATE INDEX accounts_username ON accounts (username_folded);

-- What the usernames look like. Two that look alike share a key, so one of them is refused.
CREATE TABLE account_names (
    key text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE
);
CREATE INDEX account_names_user ON account_names (user_id);
