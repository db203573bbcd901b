-- Accounts, the ways into them, sign-ins with their refresh tokens, and the keys of access tokens.

-- The keys that sign access tokens; the newest that every node knows signs.
CREATE TABLE account_keys (
    id text COLLATE "C" PRIMARY KEY,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE accounts (
    user_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    roles text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);

-- The ways into an account. The subject is a hash: whoever reads the table cannot sign in with it.
CREATE TABLE account_identities (
    provider text COLLATE "C" NOT NULL,
    subject bytea NOT NULL,
    user_id text COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX account_identities_user ON account_identities (user_id);

-- A sign-in is one device's. It lasts as long as its newest refresh token.
CREATE TABLE account_sign_ins (
    id text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE,
    label text NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX account_sign_ins_user ON account_sign_ins (user_id);

-- Every refresh token of a sign-in, as a hash. One that was used and comes again was stolen.
CREATE TABLE account_refresh_tokens (
    hash bytea PRIMARY KEY,
    sign_in text COLLATE "C" NOT NULL REFERENCES account_sign_ins ON DELETE CASCADE,
    used_at timestamptz
);
CREATE INDEX account_refresh_tokens_sign_in ON account_refresh_tokens (sign_in);

-- Sign-ins and users whose access tokens are void before their time. All nodes look here.
CREATE TABLE account_endings (
    user_id text COLLATE "C" NOT NULL,
    sign_in text COLLATE "C" NOT NULL,
    why text NOT NULL,
    until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, sign_in)
);
CREATE INDEX account_endings_changed ON account_endings (changed_at);
