"""Valkey and PostgreSQL as child processes. Their programs come from PyPI wheels."""

from persistence.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServers"]
