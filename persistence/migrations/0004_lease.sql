-- Which server works on this schema: until there is a cluster, one (see postgres/lease.py). Its
-- `beats` count while it lives; whoever takes its place takes the row over.
CREATE TABLE lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    beats bigint NOT NULL DEFAULT 0,
    draining boolean NOT NULL DEFAULT false,
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
