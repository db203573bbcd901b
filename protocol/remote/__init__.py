"""The parts of the Python client. Users import `protocol.client`."""
