-- The one-time secret by which an account becomes that of an owner. One row, or none: the newest secret.
CREATE TABLE owner_secrets (
    newest boolean PRIMARY KEY DEFAULT true CHECK (newest),
    hash bytea NOT NULL, -- SHA-256
    expires_at timestamptz NOT NULL,
    used_by text COLLATE "C" -- null: nobody has used it
);
