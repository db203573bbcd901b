from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import trio

from protocol.server.poller import Poller

LIMIT_S = 5.0


class Noting:
    """A turn that notes in a shared list when it is entered and left."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def __enter__(self) -> None:
        self.notes.append("in")

    def __exit__(self, *_: object) -> None:
        self.notes.append("out")


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


async def test_it_calls_until_told_that_it_is_enough() -> None:
    got: list[bytes] = []
    with pair() as (near, far):

        def readable() -> bool:
            got.append(near.recv(1))
            return len(got) == 3

        async with trio.open_nursery() as nursery:
            poller = Poller(nullcontext())
            await nursery.start(poller.run)
            far.send(b"abcd")
            with trio.fail_after(LIMIT_S):
                await poller.wait(near, readable)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert got == [b"a", b"b", b"c"]
        assert near.recv(9) == b"d"


async def test_all_that_are_due_are_read_in_one_turn() -> None:
    notes: list[str] = []
    with pair() as (near, far), pair() as (near2, far2):

        def reader(sock: socket.socket) -> bool:
            notes.append(sock.recv(9).decode())
            return True

        async with trio.open_nursery() as nursery:
            poller = Poller(Noting(notes))
            far.send(b"read")
            far2.send(b"read")
            nursery.start_soon(poller.wait, near, lambda: reader(near))
            nursery.start_soon(poller.wait, near2, lambda: reader(near2))
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert notes == ["in", "read", "read", "out"]


async def test_who_gives_up_waiting_is_not_called_any_more() -> None:
    with pair() as (near, far):
        async with trio.open_nursery() as nursery:
            poller = Poller(nullcontext())
            await nursery.start(poller.run)
            with trio.move_on_after(0.01):
                await poller.wait(near, lambda: pytest.fail("called"))
            far.send(b"late")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert near.recv(9) == b"late"


async def test_a_read_may_end_its_own_wait() -> None:
    with pair() as (near, far):
        async with trio.open_nursery() as nursery:
            poller = Poller(nullcontext())
            scope = trio.CancelScope()

            def readable() -> bool:
                near.recv(9)
                scope.cancel()
                return True

            async def waiting() -> None:
                with scope:
                    await poller.wait(near, readable)

            await nursery.start(poller.run)
            nursery.start_soon(waiting)
            far.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            assert scope.cancelled_caught
            nursery.cancel_scope.cancel()


async def test_a_read_may_end_the_wait_of_another_that_is_due_in_the_same_row() -> None:
    called: list[int] = []
    with pair() as (near, far), pair() as (near2, far2):
        async with trio.open_nursery() as nursery:
            poller = Poller(nullcontext())
            scopes = [trio.CancelScope(), trio.CancelScope()]

            async def waiting(number: int, sock: socket.socket) -> None:
                def readable() -> bool:
                    called.append(number)
                    scopes[1 - number].cancel()
                    return True

                with scopes[number]:
                    await poller.wait(sock, readable)

            far.send(b"x")
            far2.send(b"x")
            nursery.start_soon(waiting, 0, near)
            nursery.start_soon(waiting, 1, near2)
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert len(called) == 1
