"""Which actor has which name."""

from __future__ import annotations

from collections.abc import Iterator

from .cell import Cell
from .errors import ActorExists


class Index:
    """Cells by kind and key.

    Two levels: a flat index needs a tuple for each name, 56 bytes an actor, and all actors of one
    kind are asked for now and then.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Cell]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def find(self, kind: str, key: str) -> Cell | None:
        """The cell of that name, if there is one now."""
        cells = self._kinds.get(kind)
        return None if cells is None else cells.get(key)

    def add(self, cell: Cell) -> None:
        """Enter a cell under its name. Raises ActorExists if the name is taken."""
        cells = self._kinds.setdefault(cell.kind, {})
        if cell.key in cells:
            raise ActorExists(f"{cell.kind}/{cell.key}")
        cells[cell.key] = cell

    def remove(self, cell: Cell) -> None:
        """The cell has ended: its name is free."""
        cells = self._kinds.get(cell.kind, {})
        if cells.get(cell.key) is cell:
            del cells[cell.key]
            if not cells:
                del self._kinds[cell.kind]

    def cells(self, kind: str | None = None) -> Iterator[Cell]:
        """All cells, or all of a kind, as they are now."""
        kinds = list(self._kinds.values()) if kind is None else [self._kinds.get(kind, {})]
        for cells in kinds:
            yield from list(cells.values())
