"""Valkey and PostgreSQL as child processes, from the programs that PyPI wheels bring."""

from persistence.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServers"]
