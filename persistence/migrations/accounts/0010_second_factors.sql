-- The second factor of an account: the secret of its authenticator. It asks for it once a code of it
-- was shown. A code is right once: those up to the step of the last one are not taken again.
CREATE TABLE account_second_factors (
    user_id text COLLATE "C" PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    secret text NOT NULL,
    last_step bigint NOT NULL,
    confirmed boolean NOT NULL
);

-- Recovery codes that were not used yet, as hashes.
CREATE TABLE account_recovery_codes (
    user_id text COLLATE "C" NOT NULL REFERENCES account_second_factors ON DELETE CASCADE,
    hash bytea NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- Sign-ins that wait for the second factor.
CREATE TABLE account_tickets (
    ticket bytea PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE,
    label text NOT NULL,
    tries integer NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX account_tickets_user ON account_tickets (user_id);
