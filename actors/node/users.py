"""The command `user`: exports or erases all that a server holds of a user, while it does not run.

A server that runs has a part of it in memory, and no door yet for such a request. So this command
takes the server's place for as long as it works: it opens the stores as `serve` does, and starts
the services, but nothing that clients could reach.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import msgspec
import structlog
import trio

from actors.edge.topics import Topics
from actors.node import logs
from actors.node.exits import Exit
from actors.node.hosting import start_services, store_settings
from actors.node.opening import leased, stores
from actors.node.printing import say
from actors.node.program import Program, check_program
from actors.node.scheduler import Bell
from actors.node.stopping import Signals, Stopping
from actors.node.stores import NodeStores, start_stores
from actors.node.upkeep import hold_lease
from actors.runtime.system import ActorSystem
from actors.service import Running
from actors.traces import NotErased
from persistence import DataDirLocked, Replaced, SchemaInUse
from persistence.postgres import SchemaLease
from persistence.stores import Stores

T = TypeVar("T")
Work = Callable[[Mapping[str, Running], NodeStores], Awaitable[T]]
"""What is done with services that run, by name."""

STOP_FIRST: Final = "stop the server first, as this command needs its stores for itself"

log = structlog.get_logger("actors.node.users")


class ServerRuns(Exception):  # noqa: N818 - a state
    """A server has the stores that the command needs for itself. The text is one line."""


class CannotWrite(Exception):  # noqa: N818 - a state, as in trio.BusyResourceError
    """The export cannot be written. The text is one line."""


class Interrupted(Exception):  # noqa: N818 - a state
    """A signal ended the command before it was done. The text is one line."""


class Unsaved(Exception):  # noqa: N818 - a state
    """A store could not take all that was to be saved in the end. The text is one line."""


def export_user(program: Program, signals: Signals, *, user: str, out: Path | None) -> Exit:
    """Write all that the services know of a user as JSON: an object with a value by service.

    Arguments:
        program: the configuration and the services.
        signals: what has come so far.
        user: the id of the user.
        out: the file; only its owner may read it. None: standard output.

    Raises:
        CannotWrite: `out` cannot be opened, or what is written does not arrive.
    """
    with ExitStack() as stack:
        try:  # before anything is started
            target = sys.stdout.buffer if out is None else stack.enter_context(private_file(out))
        except OSError as error:
            raise CannotWrite(f"cannot write {out}: {error.strerror}") from error
        found = with_services(program, signals, lambda running, _: exported(running, user))
        text = msgspec.json.format(msgspec.json.encode(found), indent=2)
        try:
            target.write(text + b"\n")
            target.flush()
        except OSError as error:
            raise CannotWrite(f"cannot write the export: {error.strerror}") from error
    counts = {name: len(what) for name, what in found.items()}
    did = f"exported of {user}: {_listed(counts)}" if any(counts.values()) else _nothing_of(user)
    say(sys.stderr, f"greenroom: {did}", wait_s=logs.LAST_WORDS_S)
    return Exit.OK


def erase_user(program: Program, signals: Signals, *, user: str) -> Exit:
    """Erase all that the services know of a user, or make it anonymous; tell how much was found.

    Raises:
        NotErased: something is left. To run the command again erases the rest.
    """

    async def counted(running: Mapping[str, Running], opened: NodeStores) -> dict[str, int]:
        # Counted as `export` counts, and first: afterwards nobody can tell a user who was erased
        # from an id that was mistyped.
        found = {name: len(what) for name, what in (await exported(running, user)).items()}
        await erased(running, opened, user)
        return found

    try:
        counts = with_services(program, signals, counted)
    except Interrupted as error:
        raise NotErased(f"{error}; run the command again to erase the rest") from None
    found = any(counts.values())
    print(f"erased of {user}: {_listed(counts)}" if found else _nothing_of(user))
    return Exit.OK


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _nothing_of(user: str) -> str:
    return f"nothing was found of {user}; is the id right?"


async def exported(services: Mapping[str, Running], user: str) -> dict[str, Any]:
    """Return what each service exports of a user, by the name of the service."""
    return {
        name: await running.export(user)
        for name, running in services.items()
        if running.export is not None
    }


async def erased(services: Mapping[str, Running], opened: NodeStores, user: str) -> None:
    """Erase a user from each service.

    Raises:
        NotErased: something is left somewhere. All services were asked.
    """
    left: list[str] = []
    for name, running in services.items():
        if running.erase is None:
            continue
        try:
            await running.erase(user)
        except NotErased as error:
            left.append(f"{name}: {error}")
    await opened.keeping.forget_answers(user)
    if left:
        raise NotErased("; ".join(left))


def with_services(program: Program, signals: Signals, work: Work[T]) -> T:
    """Take the server's place, do the work, and give the place up; returns what the work does.

    Raises what opens the stores, what the work raises, and:
        ServerRuns: a server has the stores.
        Interrupted: a signal came first.
    """
    loaded = program.loaded
    settings = loaded.config
    logs.configure(settings.log)
    check_program(program)
    stopping = Stopping(
        signals,
        drain_s=0.0,
        limit_s=settings.server.stop_timeout_s,
        forced_exit=Exit.CUT_SHORT,
    )
    with ExitStack() as stack:
        try:
            found = stack.enter_context(stores(loaded, program.services))
            signals.check()
            lease = stack.enter_context(leased(loaded, found, exclusive=True))
        except DataDirLocked as error:
            raise ServerRuns(f"{error}; {STOP_FIRST}") from error
        except SchemaInUse as error:
            raise ServerRuns(
                f"a server works on this schema: {error.holder}; {STOP_FIRST}"
            ) from error
        for name in found.migrated.left_alone:
            log.warning("not asked", service=name, why="it is not in this server")
        signals.check()
        signals.only_note()
        outcome = trio.run(_Hosting(program, found, lease, stopping).run, work)
        if lease is not None and lease.lost:
            raise Replaced
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class _Hosting(NamedTuple):
    """The services of a server, started for one piece of work."""

    program: Program
    stores: Stores
    lease: SchemaLease | None
    stopping: Stopping

    async def run(self, work: Work[T]) -> T | Exception:
        """Return what the work returned or raised. It is not raised here, where it would come out
        in a group of errors.
        """
        loaded, services = self.program.loaded, self.program.services
        outcome: T | Exception = Interrupted("interrupted by a signal")
        async with trio.open_nursery() as outer:
            await outer.start(self.stopping.listen)
            if self.lease is not None:
                outer.start_soon(hold_lease, self.lease, self.stopping)
            async with ActorSystem("user") as system:
                found = self.stores
                needed = store_settings(loaded.config, services, found.postgres, found.redis)
                opened = await start_stores(system, needed, Bell())
                running = start_services(
                    services,
                    loaded.config,
                    folder=loaded.folder,
                    system=system,
                    topics=Topics(),
                    stores=opened,
                )
                async with trio.open_nursery() as working:
                    working.start_soon(self._give_up_when_asked, working.cancel_scope)
                    try:
                        outcome = await work(running, opened)
                    except Exception as error:
                        outcome = error
                    working.cancel_scope.cancel()
            outer.cancel_scope.cancel()
        if opened.durability.unsaved and not isinstance(outcome, Exception):
            return Unsaved("a store could not take all; the log tells")
        return outcome

    async def _give_up_when_asked(self, scope: trio.CancelScope) -> None:
        await self.stopping.asked.wait()
        scope.cancel()


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which only its owner may read.

    It takes the place of `path` at the end, so a file that is there keeps its text if the block
    fails, and whoever has that one open or may read it does not see this one.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # a pipe or a terminal, which stays what it is
        with path.open("wb") as file:
            yield file
        return
    place = path.resolve()  # a link stays a link
    fd, name = tempfile.mkstemp(prefix=".export-", dir=place.parent)  # of mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            os.fsync(fd)
        try:
            Path(name).replace(place)
        except OSError as error:
            raise CannotWrite(f"cannot write {path}: {error.strerror}") from error
    except BaseException:
        Path(name).unlink()
        raise
