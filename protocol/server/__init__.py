"""The server's end of the wire: sockets, handshake, connections and their outboxes."""
