"""Chat: rooms with members, an order, and history."""
