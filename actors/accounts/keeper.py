"""`AccessKeeper`: reads the keys and the endings from PostgreSQL, again and again."""

from __future__ import annotations

import secrets
from typing import Any, Final

import msgspec

from actors.accounts.access import AccountAccess
from actors.accounts.rows import OVERLAP_S, AccessNews, Lookup, RotateKeys
from actors.accounts.settings import AccountSettings
from actors.edge.access_tokens import AccessKeys
from actors.facts import Facts
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles

KEEPER: Final = "access-keeper"
SETTLES_S: Final = 10.0
"""The age at which a new key begins to sign. Every node has read it by then."""
ROTATE_EVERY_S: Final = 60.0
"""How often a node asks whether a new key is due."""


class KnownKeys:
    """The keys that a node knows.

    Attributes:
        present: the keys; None: they have not been read yet.
    """

    def __init__(self) -> None:
        self.present: AccessKeys | None = None

    def remember(self, looked: AccessNews) -> None:
        """Take the keys over.

        The newest one of at least `SETTLES_S` signs; if there is none, the oldest of all does.
        """
        if looked.keys:
            settled = [key for key, _, age in looked.keys if age >= SETTLES_S]
            signing = settled[0] if settled else looked.keys[-1][0]
            self.present = AccessKeys(signing, {key: secret for key, secret, _ in looked.keys})


class _Look(msgspec.Struct, frozen=True, gc=False):
    """Timer: look again."""


class _Rotate(msgspec.Struct, frozen=True, gc=False):
    """Timer: see whether a new key is due."""


class _Rotated(msgspec.Struct, frozen=True):
    done: Future[Any]


class _Found(msgspec.Struct, frozen=True):
    done: Future[Any]


class AccessKeeper(Actor):
    """Reads keys and endings in rounds.

    While PostgreSQL is away, sessions are opened by the keys and endings that were read last.

    Arguments:
        facts: asks PostgreSQL.
        keys: takes the keys that were read.
        access: takes the endings that were read.
        settings: the section of accounts.
    """

    def __init__(
        self, facts: Facts, keys: KnownKeys, access: AccountAccess, settings: AccountSettings
    ) -> None:
        super().__init__()
        self._facts = facts
        self._keys = keys
        self._access = access
        self._settings = settings
        self._since = 0.0

    def on_start(self) -> None:
        self.rotate(_Rotate())

    @handles(_Rotate, local=True)
    def rotate(self, _: _Rotate) -> None:
        """Have PostgreSQL add a key if the newest is old enough."""
        settings = self._settings
        command = RotateKeys(
            secrets.token_urlsafe(6),
            secrets.token_bytes(32),
            settings.key_every_s,
            settings.access_valid_s + 10 * SETTLES_S,
        )
        self.pipe_to_self(self._facts.execute(command, user=KEEPER), _Rotated)

    @handles(_Rotated, local=True)
    def rotated(self, message: _Rotated) -> None:
        """Look at once, since there may be a first key."""
        failed = message.done.exception() is not None
        self.start_timer(1.0 if failed else ROTATE_EVERY_S, _Rotate(), name="rotate")
        self.start_timer(0.0, _Look(), name="look")

    @handles(_Look, local=True)
    def look(self, _: _Look) -> None:
        """Begin a round."""
        self.pipe_to_self(self._facts.ask(Lookup(self._since)), _Found)

    @handles(_Found, local=True)
    def found(self, message: _Found) -> None:
        """Take over what was found."""
        if message.done.exception() is None:
            looked: AccessNews = message.done.result()
            self._keys.remember(looked)
            self._access.apply(looked.endings)
            self._access.forget_old()
            self._since = looked.now - OVERLAP_S
        self.start_timer(self._settings.look_every_s, _Look(), name="look")
