"""HTTP beside the wire: health, readiness, metrics, and the routes of services."""
