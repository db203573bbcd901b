"""`Vacancies`: the labels that kinds are kept to and that no living node has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from actors.cluster.rules.view import View

_log = structlog.get_logger("actors.cluster")

PATIENCE: Final = 3
"""How many looks must find no node before a label counts as vacant. While nodes start, together or
one after the other, there is no reason for a warning."""


class Vacancies:
    """Warns once when a label has no node, and says once when it has one again.

    Attributes:
        labels: labels that no living node has, with the kinds that are kept to each; "": the
            kinds that are kept to none.
    """

    def __init__(self) -> None:
        self.labels: Mapping[str, Sequence[str]] = {}
        self._looks: dict[str, int] = {}

    def look(self, view: View, labels: Mapping[str, str]) -> None:
        """Look at the living nodes.

        Arguments:
            view: the living nodes.
            labels: the label of each kind that the cluster places; "": it is kept to none.
        """
        if not any(node.stays for node in view.nodes.values()):
            return  # all nodes are stopping
        kinds: dict[str, list[str]] = {}
        for kind, label in labels.items():
            kinds.setdefault(label, []).append(kind)
        vacant = {label for label in kinds if not view.serves(label)}
        self._looks = {label: self._looks.get(label, 0) + 1 for label in vacant}
        for label in self.labels:
            if label not in vacant:
                _log.info("there is a node again", label=label)
        found = {label: kinds[label] for label, looks in self._looks.items() if looks >= PATIENCE}
        for label in found.keys() - self.labels.keys():
            why = "no living node has this label: requests are answered unavailable"
            _log.warning("no node for these kinds", label=label, kinds=found[label], why=why)
        self.labels = found
