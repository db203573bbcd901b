"""What the edge decides, as values: no clock, no input, no output."""
