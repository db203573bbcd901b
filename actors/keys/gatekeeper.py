"""`Gatekeeper`: knows back ends by their API keys."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

from actors.edge.api.callers import USER_HEADER, ApiCaller, Credentials
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.keys.key_text import ITSELF, PREFIX, parsed
from actors.keys.rows import FindKey, KeyFound, NoteUse
from actors.keys.shared_rate import SharedRates
from protocol.errors import BAD_TOKEN, BAD_USER, FORBIDDEN, RequestError
from protocol.messages.envelope import IDENT
from protocol.roles import PLAYER, with_included

KNOWN_S: Final = 1.0
"""How long a node uses what it has read of a key. So another node may accept a key for so long
after it was revoked."""
NOTE_S: Final = 60.0
"""How often the use of a key is noted, at most."""
_MOST: Final = 10_000


class Gatekeeper:
    """Finds the caller of an API key.

    Arguments:
        facts: reads the keys.
        rates: the rates of keys over all nodes.
        clock: seconds of a clock that never goes back.

    Attributes:
        checked: what became of a key that was shown -> how many times.
    """

    def __init__(self, facts: Facts, rates: SharedRates, clock: Callable[[], float]) -> None:
        self._facts = facts
        self._rates = rates
        self._clock = clock
        self._known: dict[str, tuple[float, KeyFound | None]] = {}
        self._noted: dict[tuple[str, str], float] = {}
        self.checked = Counter(valid=0, unknown=0, revoked=0)

    async def authenticate(self, given: Credentials) -> ApiCaller | None:
        """Return who calls with a key; None: the token is no key.

        Raises RequestError: RATE_LIMITED, or BAD_TOKEN. The caller is not told whether the key is
        unknown, has another secret, or was revoked.
        """
        if not given.token.startswith(PREFIX):
            return None
        text = parsed(given.token)
        found = None if text is None else await self._find(text.id)
        if text is None or found is None or not hmac.compare_digest(found.hash, text.hash):
            self.checked["unknown"] += 1
            raise RequestError(BAD_TOKEN, "no such API key, or it was revoked")
        key = found.key
        if key.revoked is not None:
            self.checked["revoked"] += 1
            raise RequestError(BAD_TOKEN, "no such API key, or it was revoked")
        self.checked["valid"] += 1
        self._note(key.id, given.address or given.peer)
        self._rates.admit(key)
        if given.user is None:
            user, name, roles = f"{ITSELF}{key.id}", key.name, with_included((PLAYER, *key.roles))
        elif given.user.startswith(ITSELF):
            raise RequestError(FORBIDDEN, "a key calls on behalf of players, not of another key")
        elif IDENT.fullmatch(given.user):
            user, name, roles = given.user, given.user, frozenset((PLAYER,))
        else:
            raise RequestError(BAD_USER, f"{USER_HEADER}: letters, digits, and _.:-, at most 64")
        who = Identity("", user, name, roles=roles, address=given.address, key=key.id)
        return ApiCaller(
            who=who,
            scopes=tuple(key.scopes),
            requests_per_s=key.requests_per_s,
            burst=key.burst,
        )

    def forget(self, key: str) -> None:
        """Read a key again at its next use, since it was just changed here."""
        self._known.pop(key, None)

    async def _find(self, key: str) -> KeyFound | None:
        now = self._clock()
        until, found = self._known.get(key, (now, None))
        if until > now:
            return found
        found = cast("KeyFound | None", await self._facts.ask(FindKey(key)))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (now + KNOWN_S, found)
        return found

    def _note(self, key: str, address: str) -> None:
        """Note a use: each minute, and the first one from an address at once."""
        now, noted = self._clock(), self._noted
        if now < noted.get((key, address), now):
            return
        if len(noted) >= _MOST:
            noted.clear()
        noted[key, address] = now + NOTE_S
        # Nobody waits for this. If it fails, the next use in a minute is noted.
        self._facts.execute(NoteUse(key, address), user=f"{ITSELF}{key}").when_done(lambda _: None)
