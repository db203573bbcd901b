"""`OpTable`: a set of ops, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from protocol.messages.envelope import ErrorReply, Ok, Push, Request
from protocol.messages.op import Area, Op, op_of


class OpTable:
    """The ops of some areas: those that a server serves, or all.

    Attributes:
        ops: each op, by its name on the wire.
        requests: the type of each request, by op.
        answers: the type of `data` in the `ok` to each op; None: it has no data.
        costs: what each type of request counts towards its session's rate; 0: see `cost_of`.
        sheddable: the types of requests that an overloaded node refuses.
        sheddable_ops: the names of those.
        own_values: for each type of request that has them, the fields that hold a game's own
            values.
        pushes: the type of each push, by op.
        request_union: the tagged union that a server decodes.
        server_union: the tagged union that a client decodes.

    Raises ValueError if two ops, or two pushes, have the same name.
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
                if self.pushes.setdefault(op_of(push), push) is not push:
                    raise ValueError(f"push {op_of(push)} is declared twice")
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
        """Return what a request counts towards its session's rate."""
        return self.ops[op_of(request)].cost_of(request)
