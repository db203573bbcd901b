"""Snapshots and events as every version of the server wrote them, and proof that this one reads
them. A folder for each version, never changed once it is there; `python -m tests.corpus.write`
adds the next.
"""
