"""Everything about the wire: messages, encodings, the server's connection, the client."""
