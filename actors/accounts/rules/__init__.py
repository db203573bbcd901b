"""Decisions about accounts that know nothing of stores or clients."""
