"""The parent of several nodes, which are processes behind one port.

It owns what they share: the addresses, the embedded stores, the lease of the schema, the signals
and the log. It runs no actors and serves no clients, so it needs hardly any CPU.
"""
