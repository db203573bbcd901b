-- Bans and closings. An account is closed, or else banned until a time, or else active.
ALTER TABLE accounts
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN banned_until timestamptz,  -- for ever: the end of the year 9999
    ADD COLUMN ban_reason text NOT NULL DEFAULT '';

-- What a banned user is told by a node that knows of the ban from here.
ALTER TABLE account_endings
    ADD COLUMN ends_at timestamptz,
    ADD COLUMN reason text NOT NULL DEFAULT '';
