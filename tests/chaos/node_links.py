"""What several nodes reach their stores by: a link for each node and store.

The Valkey is one that can fail over. Its nodes have always the same address of it, as behind a
service that follows the primary.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

from tests.chaos.faulty import Ways
from tests.chaos.links import Change, Links
from tests.chaos.proxy import Target
from tests.chaos.valkeys import ValkeyPair

Store = Literal["Valkey", "PostgreSQL"]
STORES: Final[tuple[Store, ...]] = ("Valkey", "PostgreSQL")
PARENT: Final = "parent"


class NodeLinks:
    """The links of nodes `node-1` and so on, and of their parent. To be made in the main thread.

    Arguments:
        folder: for Valkey's files.
        nodes: how many.
        postgres_url: of PostgreSQL, on a unix socket.

    Attributes:
        valkeys: what the links to Valkey lead to.
        of_nodes: node -> the addresses that it has.
        own: those of the parent.
    """

    def __init__(self, folder: Path, nodes: int, postgres_url: str) -> None:
        self._names = [PARENT, *(f"node-{number}" for number in range(1, nodes + 1))]
        self.valkeys = ValkeyPair(folder)
        parts = urlsplit(postgres_url)
        query = parse_qs(parts.query)
        sockets, number = query["host"][0], query.get("port", ["5432"])[0]
        there: dict[Store, Target] = {
            "Valkey": self._valkey,
            "PostgreSQL": f"{sockets}/.s.PGSQL.{number}",
        }
        self._links = Links(
            {link(name, store): there[store] for name in self._names for store in STORES}
        )

        def way(name: str) -> Ways:
            port = self._links.ports[link(name, "PostgreSQL")]
            credentials = parts.netloc.rpartition("@")[0]
            postgres = f"postgresql://{credentials}@127.0.0.1:{port}{parts.path}?sslmode=disable"
            return Ways(postgres, self.valkeys.url(self._links.ports[link(name, "Valkey")]))

        self.own, *others = map(way, self._names)
        self.of_nodes = dict(zip(self._names[1:], others, strict=True))

    @property
    def _valkey(self) -> tuple[str, int]:
        return "127.0.0.1", self.valkeys.primary.port

    def change(self, *changes: Change) -> None:
        """Change links. Blocks."""
        self._links.change(*changes)

    def lead_to_primary(self, name: str) -> None:
        """Have a node, or the parent, reach the Valkey that is the primary now. Blocks."""
        self._links.change(Change(link(name, "Valkey"), target=self._valkey))

    @property
    def names(self) -> list[str]:
        """Who has links."""
        return list(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._links.__exit__(kind, value, traceback)
        self.valkeys.end()


def link(name: str, store: Store) -> str:
    """The link of a node, or of the parent, to a store."""
    return f"{name} {store}"
