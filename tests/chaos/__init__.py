"""The chaos suite: a real server under injected faults, and a checker that reads the records."""
