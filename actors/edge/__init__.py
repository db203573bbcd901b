"""A player's side of a server: connections, sessions, and the hub of what is pushed to them."""
