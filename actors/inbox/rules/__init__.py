"""Decisions as values: nothing here waits, stores or knows an actor."""
