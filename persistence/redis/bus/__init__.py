"""The bus between nodes: what waits for a node leaves in one entry of its stream."""

from persistence.redis.bus.intake import Intake
from persistence.redis.bus.lane import Lane
from persistence.redis.bus.reader import BusReader
from persistence.redis.bus.sender import BusSender, Ship

__all__ = ["BusReader", "BusSender", "Intake", "Lane", "Ship"]
