"""Games and actors to read first, and to copy from."""
