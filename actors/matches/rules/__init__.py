"""What matches decide, and what a game is, as values: no clock, no input, no output."""
