"""A chat room: the actor that gives each message its place, and owns the topic `room:<name>`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from actors.chat.history import ReadBefore, read_before
from actors.chat.messages import ListMembers, Post, ReadHistory, room_topic
from actors.chat.rules.room_log import Entry, LogState, Page, Posted, RoomLog, newest
from actors.chat.rules.roster import Roster
from actors.chat.settings import RoomSettings
from actors.edge.failures import Refused, refuse_late, with_others
from actors.edge.topic_messages import ComeBack, Join, Leave, Part, Resume, TopicMessage
from actors.edge.topics import Topics
from actors.edge.warden import SESSION_KIND, guard
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.messages import Terminated
from actors.runtime.persistence import PersistentActor
from actors.runtime.stores import EventRow
from protocol.errors import (
    NOT_JOINED,
    OUT_OF_RANGE,
    ROOM_FULL,
    TOO_LONG,
    UNAVAILABLE,
)
from protocol.messages.room import (
    History,
    Member,
    Members,
    Message,
    RoomJoined,
    RoomLeft,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomState,
    Sent,
)

KIND = "room"

FIRST_EPOCH: Final = 1

_decode = msgspec.msgpack.Decoder(Posted).decode


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Timer of a room in which nothing was ever said: leave memory if nobody is here."""


class Room(PersistentActor):
    """Has the members, the order, and the end of the log; all of the log is in the event store.

    Members are the hub's: a room that crashed finds them there, watches them anew, and tells them
    that it is back. What was said is the log's: an offset is an event's seq. Fan-out happens at
    once, the acknowledgement after the commit.

    A room in which nothing was ever said is nowhere but in memory, and there only while somebody is
    in it. Its members stand at offset 0 of the epoch that it takes with the first message, if
    nobody is before it; and if somebody is, offset 0 is true of any epoch.

    Arguments:
        name: of the room, the key of the actor.
        topics: the hub of this node.
        clock_ms: milliseconds since 1970, UTC.
    """

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Posted,)
    looks_first: ClassVar[bool] = True  # anyone may look into a room of any name

    def __init__(
        self, name: str, topics: Topics, settings: RoomSettings, clock_ms: Callable[[], int]
    ) -> None:
        super().__init__()
        self._name = name
        self._topic = room_topic(name)
        self._topics = topics
        self._settings = settings
        self._clock_ms = clock_ms
        self._said = RoomLog(settings.recent, settings.keys)
        self._roster: Roster[Member] = Roster()
        self._uncommitted: dict[int, Future[Any]] = {}  # offsets of keyed sends

    @property
    def sessions(self) -> Roster[Member]:
        """Those that are members."""
        return self._roster

    # --- state -----------------------------------------------------------------------------------

    def apply(self, event: Posted) -> None:
        """Add what was said to the log."""
        self._said.append(self.seq, self.event_epoch, event)

    def snapshot(self) -> LogState:
        """Return the end of the log. Members are not part of it: sessions do not outlive a node."""
        return self._said.dump()

    def restore(self, state: Any, schema: int) -> None:  # noqa: ARG002 - there is one schema
        """Take over the end of the log."""
        self._said.restore(msgspec.convert(state, LogState))

    def on_start(self) -> None:
        """Take up the members that the hub knows from the incarnation before, and tell them."""
        self._said.epoch = self.epoch or FIRST_EPOCH
        guard(self.system, self.actor_ref)
        members = self._topics.members(self._topic)
        for listener in members:
            member = Member(listener.who.user, listener.who.name)
            self._roster.add(listener.who.session, listener.who.user, member)
            self.watch(self.system.ref(SESSION_KIND, listener.who.session))
        if members:
            self._tell_of_restart(self._topics.take_over(self._topic, self.epoch))
        elif not self.epoch:
            self.start_timer(0.0, Rest())  # unless who looks comes in

    def _tell_of_restart(self, before: int) -> None:
        """Set members back to where the log and the incarnation `before` agree, and push what
        others wrote since. That is something only if a room of this name was on another node.
        """
        said, topics, topic = self._said, self._topics, self._topic
        agreed = said.agreed(before)
        missed = None
        if agreed is not None:
            missed = said.since(before, agreed, self._settings.answer_bytes)
        if agreed is None or missed is None:
            topics.publish(topic, self._recovered(None))
            return
        topics.publish(topic, RoomRestarted(room=self._name, epoch=said.epoch, offset=agreed))
        for entry in missed:
            topics.publish(topic, self._message(*entry))

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Its start has told the members."""

    def may_passivate(self) -> bool:
        """An empty room may leave memory when it is idle."""
        return not len(self._roster)

    # --- coming and going ------------------------------------------------------------------------

    @handles(Join)
    def join(self, message: Join) -> RoomState:
        """Raises Refused: ROOM_FULL; RATE_LIMITED or BUSY, as too many would be told of it;
        UNAVAILABLE if the session has no such connection any more.
        """
        refuse_late(message.until, self.system.now())
        if message.who.session not in self._roster and len(self._roster) < self._settings.members:
            # A resume is not charged: many come back at once, and have paid when they joined.
            self._topics.charge(self._topic, message.who.session, pushes=2)  # it will leave, too
        self._enter(message.who.session, message.connection, message.who.user, message.who.name)
        settings = self._settings
        return RoomState(
            room=self._name,
            epoch=self._said.epoch,
            offset=self._said.offset,
            members=self._roster.first(settings.members_listed),
            members_total=self._roster.users,
            messages=_messages(self._said.last(settings.joined_messages, settings.answer_bytes)),
        )

    @handles(Resume)
    def resume(self, message: Resume) -> bool:
        """Raises Refused: like a join."""
        refuse_late(message.until, self.system.now())
        self._enter(message.who.session, message.connection, message.who.user, message.who.name)
        missed = self._said.since(message.epoch, message.offset, self._settings.answer_bytes)
        self._topics.send(message.who.session, message.connection, self._recovered(missed))
        return True

    def _recovered(self, missed: list[Entry] | None) -> RoomRecovered:
        """All that was missed, or the present if that cannot be told."""
        said, settings = self._said, self._settings
        if missed is None:
            messages = said.last(settings.joined_messages, settings.answer_bytes)
        else:
            messages = missed
        return RoomRecovered(
            room=self._name,
            recovered=missed is not None,
            epoch=said.epoch,
            offset=said.offset,
            members=self._roster.first(settings.members_listed),
            members_total=self._roster.users,
            messages=_messages(messages),
        )

    @handles(Leave, Part)
    def leave(self, message: Leave | Part) -> None:
        """Leave; harmless for one who is not here."""
        if message.who.session in self._roster:
            self.unwatch(self.system.ref(SESSION_KIND, message.who.session))
            self._remove(message.who.session)

    @handles(Terminated)
    def session_ended(self, message: Terminated) -> None:
        """A session that ended, in whatever way, is no member any more."""
        self._remove(message.ref.key)

    def _enter(self, session: str, connection: int, user: str, name: str) -> None:
        """Make a session a member that gets everything from here on."""
        topics, roster = self._topics, self._roster
        if not topics.is_current(session, connection):
            raise Refused(UNAVAILABLE, "the connection is gone")
        if session not in roster:
            if len(roster) >= self._settings.members:
                raise Refused(ROOM_FULL)
            member = Member(user, name)
            self.watch(self.system.ref(SESSION_KIND, session))
            if roster.add(session, user, member):  # told before who comes is subscribed
                topics.publish(
                    self._topic,
                    RoomJoined(room=self._name, offset=self._said.offset, member=member),
                )
        topics.subscribe(self._topic, session, connection, self.epoch)

    def _remove(self, session: str) -> None:
        self._topics.unsubscribe(self._topic, session)
        gone = self._roster.remove(session)
        if gone is not None:
            self._topics.publish(
                self._topic, RoomLeft(room=self._name, offset=self._said.offset, member=gone)
            )
        self._rest_if_unused()

    @handles(Rest)
    def rest(self, _: Rest) -> None:
        """Whoever brought the room to life has been answered."""
        self._rest_if_unused()

    def _rest_if_unused(self) -> None:
        """A room without members and messages is no room: it leaves memory at once."""
        if not self.epoch and not len(self._roster):
            self.passivate()

    # --- what is said ----------------------------------------------------------------------------

    @handles(Post)
    def post(self, message: Post) -> Any:
        """Raises Refused: NOT_JOINED, TOO_LONG; RATE_LIMITED or BUSY, as it would go to too many;
        StoreBusy.
        """
        who = self._member(message)
        body, key, limit = message.body, message.key, self._settings.body_bytes
        # A character is at most four bytes, so that most need not be encoded to be measured.
        if len(body) * 4 > limit and len(body.encode()) > limit:
            raise Refused(TOO_LONG, f"body: at most {limit} bytes")
        if not self.epoch:
            return self._post_first(message)
        if key is not None:
            earlier = self._said.earlier(who.user, key)
            if earlier is not None:
                # A retry gets the first one's answer, which may still wait for its commit.
                first = self._uncommitted.get(earlier[0])
                return Sent(*earlier) if first is None else with_others(first)
        self._topics.charge(self._topic, message.who.session)
        at = self._clock_ms()
        said = Posted(who.user, who.name, body, at, key)
        sent = self.persist(said, Sent(self.seq + 1, at))
        if key is not None:
            self._forget_committed()
            self._uncommitted[self.seq] = sent
        self._topics.publish(self._topic, self._message(self.seq, said))
        return sent

    async def _post_first(self, message: Post) -> Any:
        """Take an epoch before anything is pushed under it: members keep it as their position."""
        await self.activate()
        self._topics.take_over(self._topic, self.epoch)
        return self.post(message)

    def _message(self, offset: int, said: Posted) -> RoomMessage:
        return RoomMessage(
            room=self._name,
            offset=offset,
            user=said.user,
            name=said.name,
            body=said.body,
            at=said.at,
        )

    def _forget_committed(self) -> None:
        # With the next keyed send, in the room's own turn: commits come in order, and a message to
        # itself for each would cost more than to look.
        uncommitted = self._uncommitted
        while uncommitted:
            offset, sent = next(iter(uncommitted.items()))
            if not sent.done or sent.exception() is not None:
                return  # one that failed stays, and so does any retry of it
            del uncommitted[offset]

    # --- what is asked ---------------------------------------------------------------------------

    @handles(ListMembers)
    def members(self, message: ListMembers) -> Members:
        """Raises Refused: NOT_JOINED."""
        self._member(message)
        return Members(self._roster.first(self._settings.members_listed), self._roster.users)

    @handles(ReadHistory)
    def history(self, message: ReadHistory) -> Future[Any] | History:
        """Answer from memory, or with a future where the page reaches further back.

        Raises Refused: NOT_JOINED, OUT_OF_RANGE; UNAVAILABLE (later) if the store is away.
        """
        self._member(message)
        settings = self._settings
        if message.limit > settings.history_limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {settings.history_limit}")
        page = self._said.page(message.before, message.limit, settings.answer_bytes)
        first = page.held[0].offset if page.held else page.before
        may_begin = settings.forgets and 1 < first <= self._said.held_after + 1
        if not page.older and not may_begin:
            return History(_messages(page.held), more=first > 1)
        # One more than is to be shown says whether there are older ones: history need not begin
        # with the first message (`rooms.history_s`, `rooms.history_messages`).
        wanted = ReadBefore(KIND, self._name, page.before, page.older + 1)
        rows = read_before(self.system, wanted)
        return rows.map(lambda found: self._joined(found, page, settings.answer_bytes))

    def _joined(self, rows: Sequence[EventRow], page: Page, max_bytes: int) -> History:
        """A page whose older part came from the event log."""
        before = page.before
        reaches = bool(rows) and rows[-1][2] == before - 1
        if not reaches and (rows or before - 1 > self.committed):
            # While the store is behind by more than memory holds, what is between is on its way.
            raise Refused(UNAVAILABLE, "some of these messages are still being stored")
        shown = [Entry(row[2], _decode(row[5])) for row in rows[-page.older :] if page.older]
        entries = newest(shown + page.held, len(shown) + len(page.held), max_bytes)
        oldest = rows[0][2] if rows else before
        return History(_messages(entries), more=bool(entries) and entries[0].offset > oldest)

    def _member(self, message: TopicMessage) -> Member:
        member = self._roster.person(message.who.session)
        if member is None:
            raise Refused(NOT_JOINED)
        return member


def room_kind(topics: Topics, settings: RoomSettings, clock_ms: Callable[[], int]) -> Kind:
    """Return the kind for `ActorSystem.register`: rooms come to life with their first message."""

    class ConfiguredRoom(Room):
        mailbox = MailboxSpec(capacity=settings.mailbox)
        snapshot_interval_s = settings.snapshot_interval_s
        replay_last = max(settings.recent, settings.keys)

        def __init__(self, name: str) -> None:
            super().__init__(name, topics, settings, clock_ms)

    return Kind(name=KIND, factory=ConfiguredRoom, idle_after_s=settings.idle_after_s)


def _messages(entries: Sequence[Entry]) -> list[Message]:
    return [Message(offset, said.user, said.name, said.body, said.at) for offset, said in entries]
