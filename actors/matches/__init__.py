"""The parts of a match: what hosts it, what calls its game, what is recorded, what is said."""
