"""What storage decides, as values: no actor, no store, no clock."""
