"""`PasswordPool`: hashes and verifies passwords with argon2id in threads, and measures new ones.

argon2id takes tens of milliseconds of a core and megabytes of memory on purpose. The threads are
few and so is what waits for them; beyond that a sign-in is refused at once. The hash is computed
without Python's lock, so the loop goes on meanwhile.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import argon2
import msgspec
import trio

from actors.accounts.passwords.settings import PasswordSettings
from actors.edge.failures import Refused
from actors.runtime.child import ChildSpec
from actors.runtime.system import ActorSystem
from actors.runtime.thread_cell import ThreadingActor
from protocol.errors import BUSY, WEAK_PASSWORD

POOL: Final = "passwords"
TIMEOUT_S: Final = 30.0
"""How long one job may take; none does, unless its thread has died."""
MEASURED: Final = 24
"""So many first characters are measured. zxcvbn takes 60 ms of Python for 24 at the worst, and
more than a second for 72; whoever has found the whole has found these."""


class HashPassword(msgspec.Struct, frozen=True):
    """Measures a new password and hashes it. Answer: `Hashed`.

    Attributes:
        password: the password.
        about: what others know of its user, which does not make it any better.
    """

    password: str
    about: Sequence[str]


class Hashed(msgspec.Struct, frozen=True):
    """The hash; empty: the password is too weak, and `problem` says why."""

    hash: str
    problem: str = ""


class VerifyPassword(msgspec.Struct, frozen=True):
    """Verifies a password. Answer: `Verified`.

    Attributes:
        hash: the hash that is kept; None: there is none. It takes the same time and is wrong.
        password: the password that is shown.
    """

    hash: str | None
    password: str


class Verified(msgspec.Struct, frozen=True):
    """Whether it was right, and a hash with the present parameters if the old one has others."""

    right: bool
    better: str | None = None


class PasswordWorker(ThreadingActor):
    """Hashes one password at a time."""

    _measuring: Final = threading.Lock()  # zxcvbn keeps what it is told of the user in a global

    def __init__(self, settings: PasswordSettings) -> None:
        super().__init__()
        self._min_guesses = settings.min_guesses
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.argon2_passes,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_lanes,
        )
        self._dummy = ""

    def on_receive(self, message: HashPassword | VerifyPassword) -> Any:
        """Do what is asked."""
        if isinstance(message, HashPassword):
            problem = self._problem(message)
            return Hashed("" if problem else self._hasher.hash(nfc(message.password)), problem)
        return self._verified(message)

    def _verified(self, message: VerifyPassword) -> Verified:
        # Before it is looked at whether there is a hash, so that nobody can tell by the time.
        self._dummy = self._dummy or self._hasher.hash(secrets.token_hex(16))
        password, kept = nfc(message.password), message.hash
        try:
            self._hasher.verify(self._dummy if kept is None else kept, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return Verified(False)
        if kept is None:
            return Verified(False)
        better = self._hasher.hash(password) if self._hasher.check_needs_rehash(kept) else None
        return Verified(True, better)

    def _problem(self, message: HashPassword) -> str:
        from zxcvbn import zxcvbn  # half a second, and 20 MB, for those who need it

        with self._measuring:
            found = zxcvbn(nfc(message.password)[:MEASURED], user_inputs=list(message.about))
        if found["guesses"] >= self._min_guesses:
            return ""
        return str(found["feedback"]["warning"]) or "It is easy to guess; make it longer."


class PasswordPool:
    """The threads of a node that hash passwords.

    Arguments:
        system: the system that they live in.
        settings: how many there are, how many passwords may wait, and how they are hashed.

    Attributes:
        waiting: how many passwords wait or are hashed.
        refused: how many were refused because too many waited.
    """

    def __init__(self, system: ActorSystem, settings: PasswordSettings) -> None:
        names = [f"worker-{n}" for n in range(settings.threads)]
        make = partial(PasswordWorker, settings)
        specs = [ChildSpec(id=name, factory=make, shutdown_s=0.5) for name in names]
        self._supervisor = system.supervise(specs, key=POOL)
        self._free = [system.ref(POOL, name) for name in names]
        self._threads = trio.Semaphore(settings.threads)
        self._queue = settings.queue
        self.waiting = 0
        self.refused = 0

    async def started(self) -> None:
        """Wait for the threads; before that a password is refused as unavailable."""
        await self._supervisor.started()

    async def hash(self, password: str, about: Sequence[str]) -> str:
        """Return the hash of a new password. Raises Refused: WEAK_PASSWORD, or BUSY."""
        hashed: Hashed = await self._ask(HashPassword(password, about))
        if hashed.problem:
            raise Refused(WEAK_PASSWORD, hashed.problem)
        return hashed.hash

    async def verify(self, kept: str | None, password: str) -> Verified:
        """Verify a password against a hash; None: there is none. Raises Refused: BUSY."""
        verified: Verified = await self._ask(VerifyPassword(kept, password))
        return verified

    async def _ask(self, message: msgspec.Struct) -> Any:
        if self.waiting >= self._queue:
            self.refused += 1
            raise Refused(BUSY, "too many passwords are being checked", retry_in_s=1.0)
        self.waiting += 1
        try:
            async with self._threads:
                worker = self._free.pop()
                try:
                    return await worker.ask(message, timeout=TIMEOUT_S)
                finally:
                    self._free.append(worker)
        finally:
            self.waiting -= 1


def nfc(password: str) -> str:
    """Return a password in one form, whichever keyboard it was typed on (RFC 8265)."""
    return unicodedata.normalize("NFC", password)
