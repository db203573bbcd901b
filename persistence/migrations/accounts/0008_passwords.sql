-- E-mail and password, one for an account. The way into the account is its identity, so a password
-- goes with it.
CREATE TABLE account_passwords (
    user_id text COLLATE "C" PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    provider text COLLATE "C" NOT NULL DEFAULT 'email',
    subject bytea NOT NULL,
    email text NOT NULL,
    hash text NOT NULL,
    changed_at timestamptz NOT NULL,
    FOREIGN KEY (provider, subject) REFERENCES account_identities ON DELETE CASCADE,
    UNIQUE (provider, subject)
);

-- Devices that an account was used on. Each has the token whose hash this is, and by it a budget of
-- its own for attempts to sign in.
CREATE TABLE account_devices (
    hash bytea PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE,
    used_at timestamptz NOT NULL
);
CREATE INDEX account_devices_user ON account_devices (user_id, used_at);
