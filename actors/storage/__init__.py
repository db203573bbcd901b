"""Storage: players' objects, as rows.

Other services change and read objects by giving these commands and queries to `Frame.facts`. A
`ChangeObjects` without a quota is a change by the server: it may also write objects that their
owner may not, and objects of no player (user "").
"""

from actors.storage.commands import ChangeObjects, EraseObjects
from actors.storage.queries import ExportObjects, ListObjects, ReadObjects

__all__ = ["ChangeObjects", "EraseObjects", "ExportObjects", "ListObjects", "ReadObjects"]
