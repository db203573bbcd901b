"""Measurements: each module is a command with --help that prints a table and JSON."""
