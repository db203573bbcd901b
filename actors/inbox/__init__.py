"""Users' inboxes: entries that wait for a user who is offline, and are pushed to one who is online.

Commands of other services put entries into inboxes by `Putting`.
"""

from actors.inbox.putting import Putting

__all__ = ["Putting"]
