"""The base class of games, and the decisions of matches, without any clock, input or output."""
