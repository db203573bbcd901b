-- The network addresses that a key was used from, the latest of them: a use from a new one is in the audit log.
CREATE TABLE api_key_addresses (
    key_id text COLLATE "C" NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    address text COLLATE "C" NOT NULL,
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, address)
);

-- A key as it is shown: without its hash, times in milliseconds since 1970.
CREATE VIEW shown_api_keys AS
SELECT id, name, roles, scopes, requests_per_s, burst, created_by,
       (extract(epoch FROM created_at) * 1000)::bigint AS created,
       (extract(epoch FROM used_at) * 1000)::bigint AS used,
       (extract(epoch FROM revoked_at) * 1000)::bigint AS revoked
FROM api_keys;
