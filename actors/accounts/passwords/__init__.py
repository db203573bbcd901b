"""Sign-in by e-mail and password: the hashes, the codes by mail, and the routes."""
