"""What the Python client is made of. Users import `protocol.client`."""
