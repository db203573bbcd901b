"""A set of ops, and all that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from protocol.messages.envelope import ErrorReply, Ok, Push, Request
from protocol.messages.op import Area, Op, name_of


class OpTable:
    """The ops of some areas: those that a server serves, or all that there are.

    Attributes:
        ops: by their names on the wire.
        requests: what a client may send: op -> type.
        answers: what `ok` carries as `data`: op of the request -> type; None: nothing.
        costs: what a request counts towards its session's rate; 0: that is for `cost_of` to say.
        sheddable: the requests that a node refuses when it has too much to do; `sheddable_ops`:
            their names.
        own_values: fields that are a game's own, of the requests that have any.
        pushes: what the server may send on its own account: op -> type.
        request_union: the tagged union that a server decodes; `server_union`: that a client does.

    Raises ValueError: two ops, or two pushes, have one name.
    """

    def __init__(self, areas: Iterable[Area]) -> None:
        areas = tuple(areas)
        self.ops: dict[str, Op] = {}
        self.pushes: dict[str, type[Push]] = {}
        for area in areas:
            for op in area.ops:
                if self.ops.setdefault(op.name, op) is not op:
                    raise ValueError(f"op {op.name} is declared twice")
            for push in area.pushes:
                if self.pushes.setdefault(name_of(push), push) is not push:
                    raise ValueError(f"push {name_of(push)} is declared twice")
        every = self.ops.values()
        self.requests: dict[str, type[Request]] = {op.name: op.request for op in every}
        self.answers = {op.name: op.answer for op in every}
        self.costs = {op.request: 0 if op.cost_each else op.cost for op in every}
        self.sheddable = frozenset(op.request for op in every if op.sheddable)
        self.sheddable_ops = frozenset(op.name for op in every if op.sheddable)
        self.own_values = {op.request: own for op in every if (own := op.own_values())}
        self.request_union: Any = reduce(or_, self.requests.values())
        self.server_union: Any = reduce(or_, (Ok, ErrorReply, *self.pushes.values()))

    def cost_of(self, request: Request) -> int:
        """What a request counts towards its session's rate."""
        return self.ops[name_of(request)].cost_of(request)
