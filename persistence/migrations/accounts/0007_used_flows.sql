-- Sign-ins by a provider that have ended, until they would have run out: each ends once.
CREATE TABLE account_used_flows (
    id bytea PRIMARY KEY,
    until timestamptz NOT NULL
);
