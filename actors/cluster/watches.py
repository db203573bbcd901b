"""Watching across nodes: actors here that watch actors elsewhere, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actors.cluster.items import ActorEnded, encode_item
from actors.cluster.ways import Way
from actors.runtime.messages import Terminated
from actors.runtime.reasons import Reason
from actors.runtime.ref import ActorRef
from actors.runtime.watching import Watcher

ActorName = tuple[str, str]


class Watches:
    """Actors on other nodes that actors here watch. A node is asked once for each actor.

    Arguments:
        ref: makes a ref of kind and key.
    """

    def __init__(self, ref: Callable[[str, str], ActorRef]) -> None:
        self._ref = ref
        self._watchers: dict[ActorName, dict[Watcher, None]] = {}
        self._nodes: dict[ActorName, str] = {}

    def add(self, name: ActorName, watcher: Watcher, node: str) -> bool:
        """Enter a watcher. Return whether the node has to be asked to watch the actor."""
        watchers = self._watchers.setdefault(name, {})
        new = not watchers or self._nodes.get(name) != node
        watchers[watcher] = None
        self._nodes[name] = node
        return new

    def remove(self, name: ActorName, watcher: Watcher) -> bool:
        """Take a watcher out.

        Return whether the node has to be told that nobody watches any more.
        """
        watchers = self._watchers.get(name)
        if watchers is None:
            return False
        watchers.pop(watcher, None)
        if watchers:
            return False
        self._forget(name)
        return True

    def ended(self, name: ActorName, reason: Reason) -> None:
        """Tell those who watch it."""
        ref = self._ref(*name)
        for watcher in self._forget(name):
            if watcher.watching is not None:
                watcher.watching.discard(ref)
            watcher.notify(Terminated(ref, reason))

    def on_node(self, node: str) -> list[ActorName]:
        """Return what is watched on a node; empty: where no node is known yet."""
        return [name for name, where in self._nodes.items() if where == node]

    def _forget(self, name: ActorName) -> Iterable[Watcher]:
        self._nodes.pop(name, None)
        return self._watchers.pop(name, {})


class FarWatchers:
    """The watcher that stands for all watchers on one other node."""

    def __init__(self, way: Way) -> None:
        self.watching: set[ActorRef] | None = set()
        self._way = way

    def notify(self, end: Terminated) -> None:
        kind, key = end.ref.kind, end.ref.key
        self._way.carry(-1, encode_item(ActorEnded(kind, key, end.reason)))

    def forget(self, whereabouts: Callable[[str, str], Any]) -> None:
        """Stop watching, because that node is dead."""
        watching, self.watching = self.watching, None
        for ref in watching or ():
            target = whereabouts(ref.kind, ref.key)
            if target is not None:
                target.remove_watcher(self)
