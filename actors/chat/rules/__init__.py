"""The decisions of rooms, as pure values: no clock, no input, no output."""
