"""Keys: the API keys by which back ends call the HTTP API."""
