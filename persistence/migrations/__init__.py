"""The database's history as numbered SQL files; `persistence.postgres.migrate` applies them."""
