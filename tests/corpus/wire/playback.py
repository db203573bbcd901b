"""A tape played against the present server.

What clients sent then is sent again, and the answers must be those of then, as far as a client of
then can tell. Op, fields and values are compared, as the client of then decodes them. Ids and
tokens are new each time: those that replace the old ones are learned from the answers, and put into
what is sent. Times, texts for people, and all that depends on when a tick was run are compared by
type only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import msgspec
import trio
import trio.testing

from tests.actors.players import House
from tests.corpus.wire import v1_client as then
from tests.corpus.wire.stage import Port, encoding_of, meddle
from tests.corpus.wire.tape import Step, Tape

WITHIN_S: Final = 40.0
LOOK_EVERY_S: Final = 0.01

IDS: Final = frozenset({"session", "user", "token", "match"})
FREE: Final = frozenset({"at", "time", "created", "message"})
TICKING: Final = frozenset({"tick", "state"})
KNOWN: Final = frozenset({"ok", "error", *then.PUSHES})


class Playback:
    """One tape on its way."""

    def __init__(self, house: House, tape: Tape) -> None:
        self.now_for: dict[str, str] = {}
        """Id or token on the tape -> the present one."""
        self._house = house
        self._tape = tape
        self._ports: dict[str, Port] = {}
        self._asked: defaultdict[str, dict[int, Any]] = defaultdict(dict)  # who -> ref -> request
        self._states_due: set[str] = set()  # who should have got some of a match with ticks
        self._states_compared: set[str] = set()

    async def play(self) -> None:
        """Raises AssertionError where a client of then would notice that it is not then."""
        for number, step in enumerate(self._tape.steps, 2):
            try:
                await self._do(step)
            except Exception as error:
                error.add_note(f"{self._tape.name}.jsonl, line {number}")
                raise
        for who, port in self._ports.items():
            left = [one for one in _taken(port) if not self._passes_by(one)]
            assert not left, f"{who} got what is not on the tape: {left}"
        assert self._states_compared == self._states_due

    async def _do(self, step: Step) -> None:
        port = self._ports.get(step.who)
        if step.do == "connect":
            self._ports[step.who] = Port(self._house, encoding_of(self._tape.encoding))
        elif step.do == "wait":
            await trio.sleep(step.seconds)
        elif step.do == "crash":
            self._house.break_room(step.what)
        elif step.do == "trip" or step.do == "gift":
            meddle(step.do, step.what, step.code)
        else:
            assert port is not None
            await self._with(port, step)
        await trio.testing.wait_all_tasks_blocked()

    async def _with(self, port: Port, step: Step) -> None:
        if step.do == "sent":
            port.hand_in(self._to_send(step))
        elif step.do == "breaks":
            port.breaks()
        elif step.do == "refuse":
            port.refuse(tuple(step.refs))
        elif step.do == "closed":
            assert await self._next(port) == step.code
        else:
            await self._got(port, step)

    def _to_send(self, step: Step) -> bytes:
        """To the byte as it was, unless it names what is called otherwise now."""
        try:
            plain = step.plain()
        except msgspec.DecodeError:
            return step.payload
        if isinstance(plain, dict) and type(plain.get("ref")) is int:
            self._asked[step.who][plain["ref"]] = plain
        present = self._present(plain)
        if present == plain:
            return step.payload
        return msgspec.json.encode(present) if step.text else msgspec.msgpack.encode(present)

    async def _got(self, port: Port, step: Step) -> None:
        decode = then.DECODE_SERVER[self._tape.encoding]
        expected = decode(step.payload)
        state = isinstance(expected, then.MatchStatePush) and _ticks(expected.match)
        came = await self._next(port, with_states=state)
        assert isinstance(came, bytes), f"closed with {came}, not {step.plain()}"
        if state:
            self._states_due.add(step.who)
            if self._op(came).op != "match.state":
                port.waiting.appendleft(came)  # something else happened between these two ticks
                return
            self._states_compared.add(step.who)
        actual = decode(came)  # raises where a client of then would
        assert type(actual) is type(expected), (actual, expected)
        old, new = msgspec.to_builtins(expected), msgspec.to_builtins(actual)
        about = [old]
        if isinstance(expected, then.Ok):
            request = self._asked[step.who][expected.ref]
            old["data"], new["data"] = (
                _data(one, then.DATA[request["op"]]) for one in (expected, actual)
            )
            about += [request, old["data"] or {}]
        self._learn(old, new)
        ticking = any(_ticks(one.get("match", "")) for one in about)
        _compare(self._present(old), new, FREE | (TICKING if ticking else frozenset()))

    async def _next(self, port: Port, *, with_states: bool = False) -> bytes | int:
        """What comes next, without what a client of then does not look at."""
        with trio.fail_after(WITHIN_S):
            while True:
                port.take_out()
                while port.waiting:
                    one = port.waiting.popleft()
                    if not self._passes_by(one):
                        return one
                    if with_states and self._op(one).op == "match.state":
                        return one
                await trio.sleep(LOOK_EVERY_S)

    def _passes_by(self, one: bytes | int) -> bool:
        """Whether it may come or not: a push that is newer than the client, or the state of a match
        with ticks, of which the tape has a few.
        """
        if isinstance(one, int):
            return False
        head = self._op(one)
        return head.op not in KNOWN or (head.op == "match.state" and _ticks(head.match))

    def _op(self, one: bytes | int) -> _Op:
        assert isinstance(one, bytes)
        if self._tape.encoding == "json":
            return msgspec.json.decode(one, type=_Op)
        return msgspec.msgpack.decode(one, type=_Op)

    def _learn(self, old: Any, new: Any) -> None:
        """What ids are called now."""
        if isinstance(old, dict) and isinstance(new, dict):
            for name, value in old.items():
                if name in IDS and isinstance(value, str) and isinstance(new.get(name), str):
                    self.now_for.setdefault(value, new[name])
                else:
                    self._learn(value, new.get(name))
        elif isinstance(old, list) and isinstance(new, list):
            for one, other in zip(old, new, strict=False):
                self._learn(one, other)

    def _present(self, value: Any) -> Any:
        """The same with what ids and tokens are now."""
        if isinstance(value, dict):
            return {self._present(name): self._present(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._present(inner) for inner in value]
        if isinstance(value, str):
            kind, colon, name = value.rpartition(":")  # of a topic
            return kind + colon + self.now_for.get(name, name)
        return value


class _Op(msgspec.Struct):
    op: str
    match: str = ""


def _data(ok: then.Ok, kind: type[msgspec.Struct] | None) -> Any:
    """An answer as a client of then converts it."""
    if kind is None:
        assert ok.data is None
        return None
    return msgspec.to_builtins(msgspec.convert(ok.data, kind))


def _ticks(match: str) -> bool:
    return match.startswith("arena-")


def _taken(port: Port) -> list[bytes | int]:
    port.take_out()
    return list(port.waiting)


def _compare(old: Any, new: Any, free: frozenset[str], path: str = "") -> None:
    """Hold the two equal, but for what is `free`: that must look alike."""
    if isinstance(old, dict) and isinstance(new, dict):
        assert set(old) == set(new), path
        for name, value in old.items():
            at = f"{path}.{name}"
            if name == "acks":
                # An input that the game refused counts as well since then: numbers are higher.
                assert all(new[name][player] >= seq for player, seq in value.items()), at
            elif name in free:
                assert _form(value) == _form(new[name]), at
            else:
                _compare(value, new[name], free, at)
    elif isinstance(old, list) and isinstance(new, list):
        assert len(old) == len(new), path
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            _compare(one, other, free, f"{path}[{number}]")
    else:
        assert (type(old), old) == (type(new), new), path


def _form(value: Any) -> Any:
    """Of what types it is. Maps by players have whoever is there."""
    if isinstance(value, dict):
        return {
            "player" if name.startswith("guest-") else name: _form(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_form(value[0])] if value else []
    return "number" if type(value) in {int, float} else type(value).__name__
