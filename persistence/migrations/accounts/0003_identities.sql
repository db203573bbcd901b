-- When a way into an account was added, for whoever looks through them.
ALTER TABLE account_identities ADD COLUMN linked_at timestamptz NOT NULL DEFAULT now();
