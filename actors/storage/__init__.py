"""Storage: players' objects, as rows.

Other services ask for them by `Frame.facts`. `ChangeObjects` without a quota is the server's own
word: it writes what its owner may not, and objects that are of no player (user "").
"""

from actors.storage.commands import ChangeObjects, EraseObjects
from actors.storage.queries import ExportObjects, ListObjects, ReadObjects

__all__ = ["ChangeObjects", "EraseObjects", "ExportObjects", "ListObjects", "ReadObjects"]
