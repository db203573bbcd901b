"""Webhooks: back ends are told of events by a signed POST, which is tried again for a day."""
