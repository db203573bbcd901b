"""The HTTP API: who calls, what may be called, and the calls of ops without a session."""
