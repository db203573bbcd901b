"""The wire: its messages and encodings, the server's end, and the Python client."""
