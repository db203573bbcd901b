-- One log with a position. A sequence would number rows before they are seen: what commits late
-- would be skipped by a reader that has gone past its number. The number of the transaction has a
-- horizon: below pg_snapshot_xmin every transaction has ended, so a reader that stays below it sees
-- each event once and misses none.
--
-- What was written before has no number and stands first. The default comes after the column, or
-- PostgreSQL would write the whole table anew.
ALTER TABLE events ADD COLUMN transaction xid8;
ALTER TABLE events ALTER COLUMN transaction SET DEFAULT pg_current_xact_id();
CREATE INDEX events_transaction ON events (transaction);
