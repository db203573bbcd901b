"""Users' inboxes: what the server has for a user, whether or not anyone is there to get it.

For other services: `Putting`, with which their commands put entries there.
"""

from actors.inbox.putting import Putting

__all__ = ["Putting"]
