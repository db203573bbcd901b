"""Accounts: who players are, how they sign in, and what their tokens are worth."""
