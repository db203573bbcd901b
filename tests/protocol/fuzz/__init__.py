"""The fuzz: mutated frames and handshakes against a live server, with bystanders who must not
notice. `python -m tests.protocol.fuzz` is the long form; tests/protocol/test_fuzz.py the short one.

Everything a client would send is written here anew, from RFC 6455 and PROTOCOL.md, with the
msgpack and json packages: nothing of protocol/ has a hand in what is sent or in how it is judged,
but for the tables of codes.
"""
