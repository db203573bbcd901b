"""What clients sent and what the server answered, frame by frame, as every version of the wire had
it; and proof that the present server serves such clients, and the present client such servers.

A folder for each recording, never changed once it is there. `v1` was recorded with commit
495577338c62, `python -m tests.corpus.wire.record` being run with that commit's code: its Python
client, and clients that are nothing but JSON or msgpack. `v1_client.py` is what a client of then
decodes. See `record.py` for how to record again.
"""
