"""What rooms decide, as values: no clock, no input, no output."""
