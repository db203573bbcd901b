"""The index of a system's actors by their names."""

from __future__ import annotations

from collections.abc import Iterator

from .cell import Cell
from .errors import ActorExists


class Index:
    """Cells by kind and key.

    It has two levels, because a flat index would need a tuple for each name (56 bytes an actor),
    and because all actors of one kind are asked for now and then.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Cell]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def find(self, kind: str, key: str) -> Cell | None:
        """Return the cell of that name, if there is one now."""
        cells = self._kinds.get(kind)
        return None if cells is None else cells.get(key)

    def add(self, cell: Cell) -> None:
        """Enter a cell under its name. Raises ActorExists if the name is taken."""
        cells = self._kinds.setdefault(cell.kind, {})
        if cell.key in cells:
            raise ActorExists(f"{cell.kind}/{cell.key}")
        cells[cell.key] = cell

    def remove(self, cell: Cell) -> None:
        """Free the name of a cell that has ended."""
        cells = self._kinds.get(cell.kind, {})
        if cells.get(cell.key) is cell:
            del cells[cell.key]
            if not cells:
                del self._kinds[cell.kind]

    def cells(self, kind: str | None = None) -> Iterator[Cell]:
        """Yield all cells, or all of one kind, that are there at the time of the call."""
        kinds = list(self._kinds.values()) if kind is None else [self._kinds.get(kind, {})]
        for cells in kinds:
            yield from list(cells.values())
