"""`Blocks`: whom the users of this node have blocked, so that nothing of those reaches them.

It is known where the blocker is, by the id of the one who is blocked. So it does not matter on
which node that one has a session, or how many and how new they are. A service that knows of blocks
is the `source`; without one nobody has blocked anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from actors.runtime.future import Future

NOBODY: Final[frozenset[str]] = frozenset()
BlockSource = Callable[[str], Future[Collection[str]]]
"""Returns a future of the users that a user has blocked."""


class Blocking:
    """Whom one user has blocked. It is shared by all sessions of the user on this node.

    Attributes:
        users: the users who are blocked.
    """

    __slots__ = ("changes", "loading", "sessions", "users")

    def __init__(self) -> None:
        self.users = NOBODY
        self.sessions = 0
        self.loading: Future[None] | None = None
        """It is done once they are known, and stays if it failed; None: they are known."""
        self.changes = 0
        """What was read before the last change is not true any more."""


UNBLOCKING: Final = Blocking()
"""That of a user who has blocked nobody."""


class Blocks:
    """Knows the blocks of all users who have a session on this node.

    Attributes:
        source: where they are read; None: nobody has blocked anyone.
        blockers: for each blocked user, the users here who have blocked that one. It is empty as
            long as nobody has, so that a look costs nothing.
        changes: how often it has changed.
    """

    def __init__(self) -> None:
        self.source: BlockSource | None = None
        self.blockers: dict[str, set[str]] = {}
        self.changes = 0
        self._of: dict[str, Blocking] = {}
        self._stale: set[str] = set()

    # --- users who come and go -------------------------------------------------------------------

    def come(self, user: str, *, new_user: bool = False) -> Blocking:
        """Note one more session of a user, and begin to read whom the user has blocked.

        `new_user`: the id has just been made, so there is nothing to read.
        """
        known = self._of.get(user)
        if known is None:
            known = self._of[user] = Blocking()
            if not new_user:
                self._load(user, known)
        elif known.loading is not None and known.loading.done:  # it failed
            self._load(user, known)
        known.sessions += 1
        return known

    def go(self, user: str) -> None:
        """Note that a session of a user has ended."""
        known = self._of.get(user)
        if known is not None:
            known.sessions -= 1
            if not known.sessions:
                self._set(user, known, NOBODY)
                self._stale.discard(user)
                del self._of[user]

    # --- whom they have blocked ------------------------------------------------------------------

    def of(self, user: str) -> frozenset[str]:
        """Return whom a user with a session here has blocked."""
        known = self._of.get(user)
        return NOBODY if known is None else known.users

    def of_any(self, users: Sequence[str]) -> Collection[str] | None:
        """Return the users here who have blocked one of these; None: there are none."""
        found = [there for user in users if (there := self.blockers.get(user)) is not None]
        if len(found) > 1:
            return set().union(*found)
        return found[0] if found else None

    def change(self, user: str, other: str, *, blocks: bool) -> None:
        """Note that a user has blocked another one, or blocks that one no longer."""
        known = self._of.get(user)
        if known is not None:
            known.changes += 1
            one = frozenset({other})
            self._set(user, known, known.users | one if blocks else known.users - one)

    def reload(self, users: Collection[str]) -> None:
        """Read again whom these users have blocked, and those of whom that failed before."""
        stale, self._stale = self._stale, set()
        for user in {*users, *stale}:
            known = self._of.get(user)
            if known is not None and known.loading is None:
                self._ask(user, known, Future())

    # --- within ----------------------------------------------------------------------------------

    def _load(self, user: str, known: Blocking) -> None:
        if self.source is not None:
            known.loading = Future()
            self._ask(user, known, known.loading)

    def _ask(self, user: str, known: Blocking, loaded: Future[None]) -> None:
        assert self.source is not None
        took = partial(self._take, user, known, known.changes, loaded)
        self.source(user).when_done(took)

    def _take(
        self, user: str, known: Blocking, changes: int, loaded: Future[None], done: Future[Any]
    ) -> None:
        error = done.exception()
        if self._of.get(user) is not known:
            loaded.settle_quietly(error=error)
        elif error is not None:
            if known.loading is None:
                self._stale.add(user)
            loaded.settle_quietly(error=error)
        elif known.changes != changes:  # it changed while it was read
            self._ask(user, known, loaded)
        else:
            self._set(user, known, frozenset(done.result()))
            known.loading = None
            loaded.settle_quietly()

    def _set(self, user: str, known: Blocking, users: frozenset[str]) -> None:
        before, known.users = known.users, users
        if before == users:
            return
        self.changes += 1
        for other in before - users:
            blockers = self.blockers[other]
            blockers.discard(user)
            if not blockers:
                del self.blockers[other]
        for other in users - before:
            self.blockers.setdefault(other, set()).add(user)


def without(message: Any, users: Collection[str]) -> Any:
    """Return a push, or the data of an answer, without what is of these users.

    Messages that can have something of other users' have a method `without`. None: nothing is left
    of the push.
    """
    hide = getattr(message, "without", None)
    return message if hide is None else hide(users)
