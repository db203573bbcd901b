"""The HTTP end: health, readiness, metrics, and the routes of services."""
