"""Matches: the names to write a game with, and the actors that run it."""

from actors.matches.rules.dice import Dice
from actors.matches.rules.game import Game, Happening, Rejected

__all__ = ["Dice", "Game", "Happening", "Rejected"]
