-- Codes that are sent by mail. The client that asked holds the ticket, whose hash this is; the code
-- is made when the letter goes out, and only its hash is here. NULL: it has not gone out.
CREATE TABLE account_codes (
    ticket bytea PRIMARY KEY,
    purpose text NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    subject bytea NOT NULL,
    code bytea,
    tries integer NOT NULL DEFAULT 0,
    -- What a sign-up has given, until it is confirmed.
    email text NOT NULL,
    name text NOT NULL,
    guest boolean NOT NULL,
    password text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX account_codes_expires ON account_codes (expires_at);
CREATE INDEX account_codes_subject ON account_codes (subject);

-- Letters that wait to be sent. A node that takes one moves it into the future first, so that another
-- node takes it if the first one dies.
CREATE TABLE account_mails (
    id text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL,
    recipient text NOT NULL,
    letter text NOT NULL,
    ticket bytea REFERENCES account_codes ON DELETE CASCADE,
    tries integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX account_mails_due ON account_mails (due_at);
CREATE INDEX account_mails_expires ON account_mails (expires_at);
