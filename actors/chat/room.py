"""A chat room: the actor that gives each message its offset, and owns the topic `room:<name>`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from actors.chat.history import ReadPostsBefore, read_before
from actors.chat.messages import ListMembers, Post, ReadRoomHistory, room_topic
from actors.chat.rules.comings import Comers, Comings
from actors.chat.rules.room_log import HistoryPage, LoggedPost, LogState, Posted, RoomLog, newest
from actors.chat.rules.roster import Roster
from actors.chat.settings import RoomSettings
from actors.edge.failures import Refused, refuse_late, with_others
from actors.edge.hub_messages import Adopt
from actors.edge.strangers import NobodyElse, Strangers
from actors.edge.topic_messages import (
    ComeBack,
    Join,
    Leave,
    Part,
    Resume,
    Resumed,
    TopicMessage,
)
from actors.edge.topics import Topics
from actors.edge.warden import SESSION_KIND, guard
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.messages import Terminated
from actors.runtime.persistence import PersistentActor
from actors.runtime.stores import EventRow
from actors.traces import ForgetUser
from protocol.errors import (
    NOT_JOINED,
    OUT_OF_RANGE,
    ROOM_FULL,
    TOO_LONG,
    UNAVAILABLE,
)
from protocol.messages.envelope import Push
from protocol.messages.room import (
    History,
    Member,
    Members,
    Message,
    RoomJoined,
    RoomLeft,
    RoomMessage,
    RoomPresence,
    RoomRecovered,
    RoomRestarted,
    RoomState,
    Sent,
)

KIND = "room"

FIRST_EPOCH: Final = 1

_decode = msgspec.msgpack.Decoder(Posted).decode


class LeaveIfEmpty(msgspec.Struct, frozen=True, gc=False):
    """Timer of a room without messages: leave memory if the room has no members either."""


class TellOfComings(msgspec.Struct, frozen=True, gc=False):
    """Timer of a big room: tell its members who has come and gone."""


class Room(PersistentActor):
    """Keeps the members, the order of messages, and the end of the log; the event store has it all.

    The hub holds the members. A room that crashed finds them there, watches their sessions again,
    and tells them that it is back. The log holds the messages: a message's offset is the seq of its
    event. A message is pushed to the members at once, and acknowledged after its commit.

    A room without messages exists only in memory, and only while it has members. It takes an epoch
    with its first message. Until then its members are told offset 0 of `FIRST_EPOCH`. That position
    stays true under any later epoch, because nothing comes before offset 0.

    Arguments:
        name: the name of the room, the key of the actor.
        topics: the hub of this node.
        settings: the limits of a room.
        clock_ms: returns milliseconds since 1970, UTC.
    """

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Posted,)
    looks_first: ClassVar[bool] = True  # anyone may name a room, so a look must write nothing

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
        self._comings: Comings[Member] = Comings()
        self._strangers = Strangers(weakref.proxy(self), topics)
        self._uncommitted: dict[int, Future[Any]] = {}  # offsets of keyed sends

    @property
    def sessions(self) -> Roster[Member]:
        """The sessions that are members."""
        return self._roster

    @property
    def uncommitted(self) -> int:
        """How many keyed messages it remembers because they were not durable yet."""
        return len(self._uncommitted)

    # --- state -----------------------------------------------------------------------------------

    def apply(self, event: Posted) -> None:
        """Add a message to the log."""
        self._said.append(self.seq, self.event_epoch, event)

    def snapshot(self) -> LogState:
        """Return the end of the log, without members: sessions do not outlive a node."""
        return self._said.dump()

    def restore(self, state: Any, schema: int) -> None:  # noqa: ARG002 - there is one schema
        """Take over the end of the log."""
        self._said.restore(msgspec.convert(state, LogState))

    def on_start(self) -> None:
        """Take over the members of the incarnation before from the hub, and tell them."""
        self._said.epoch = self.epoch or FIRST_EPOCH
        guard(self.system, self.actor_ref)
        self._strangers.expect()
        members = self._topics.members(self._topic)
        for listener in members:
            member = Member(listener.who.user, listener.who.name)
            self._roster.add(listener.who.session, listener.who.user, member)
            self.watch(self.system.ref(SESSION_KIND, listener.who.session))
        if members:
            before = self._topics.take_over(self._topic, self.epoch)
            topics, topic = self._topics, self._topic
            self._tell_of_restart(
                before, lambda push, about: topics.publish(topic, push, about=about)
            )
            if self._gathers:  # what was gathered is lost, so tell at least how many they are
                self._gather()
        elif not self.epoch:
            self.start_timer(0.0, LeaveIfEmpty())  # the message that started the room may be a join

    def _tell_of_restart(self, before: int, publish: Callable[[Push, Sequence[str]], None]) -> None:
        """Set members back to the last offset that still holds, and push the messages after it.

        `publish` is given each push, and the users that it is of.

        The pushes of the incarnation `before` hold up to there; later ones were lost in the crash.
        There are messages after it only if a room of this name has run on another node since.
        """
        said = self._said
        agreed = said.agreed(before)
        missed = None
        if agreed is not None:
            missed = said.since(before, agreed, self._settings.answer_bytes)
        if agreed is None or missed is None:
            state = self._recovered(None)
            speakers = [message.user for message in state.messages]
            publish(state, [*(member.user for member in state.members), *speakers])
            return
        publish(RoomRestarted(room=self._name, epoch=said.epoch, offset=agreed), ())
        for entry in missed:
            publish(self._message(*entry), (entry.posted.user,))

    @handles(Adopt)
    def adopt(self, message: Adopt) -> None:
        """Take over members from the node that the room has been on, and tell them of the restart.

        Other members are not told of them: they know them already. They may be more than the limit,
        which is for those who come.
        """
        adopted = self._topics.adopt(self._topic, self._strangers.unknown(message), self.epoch)
        for who in adopted:
            self._roster.add(who.session, who.user, Member(who.user, who.name))
            self.watch(self.system.ref(SESSION_KIND, who.session))
        sessions = [who.session for who in adopted]
        topics, topic = self._topics, self._topic  # which hides from each what is to be hidden
        self._tell_of_restart(
            message.epoch, lambda push, _: topics.publish_to(topic, sessions, push)
        )
        self._strangers.known(sessions)

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Do nothing: the start of this actor has told the members."""

    @handles(NobodyElse, local=True)
    def nobody_else(self, _: NobodyElse) -> None:
        """Answer those who were not named as members."""
        self._strangers.nobody_else()

    def may_passivate(self) -> bool:
        """An empty room may leave memory when it is idle."""
        return not len(self._roster)

    # --- coming and going ------------------------------------------------------------------------

    @handles(Join)
    def join(self, message: Join) -> RoomState:
        """Make a session a member, and return the present state of the room.

        Raises:
            Refused: ROOM_FULL; RATE_LIMITED or BUSY if a budget of pushes is used up; UNAVAILABLE
                if the session's connection is another one by now.
        """
        self._strangers.keep_order(message)
        refuse_late(message.until, self.system.now())
        comes = message.who.session not in self._roster
        if comes and len(self._roster) < self._settings.members and not self._comings.due:
            # Two pushes, as the session will also leave. A resume is not charged, because many
            # clients come back at once and have paid when they joined. Nor is who shares the push
            # of another one that has come to a big room.
            self._topics.charge(self._topic, message.who, pushes=2)
        self._enter(message)
        settings = self._settings
        # A client that joins many rooms at once gets fewer messages, or its outbox would overflow.
        room_bytes = self._topics.room_bytes(message) // 2
        shown = settings.joined_messages if room_bytes else 0
        return RoomState(
            room=self._name,
            epoch=self._said.epoch,
            offset=self._said.offset,
            members=self._roster.first(settings.members_listed),
            members_total=self._roster.users,
            messages=_messages(self._said.last(shown, min(settings.answer_bytes, room_bytes))),
        )

    @handles(Resume)
    def resume(self, message: Resume) -> Resumed:
        """Make a session a member, and push to it what it missed. Raises `Refused` like a join."""
        self._strangers.keep_order(message)
        refuse_late(message.until, self.system.now())
        self._enter(message)
        missed = self._said.since(message.epoch, message.offset, self._settings.answer_bytes)
        told = self._topics.recover(self._topic, message, self._recovered(missed))
        return Resumed.MEMBER if told else Resumed.LATER

    def _recovered(self, missed: list[LoggedPost] | None) -> RoomRecovered:
        """Return the missed messages; or for None, the newest messages and `recovered: false`."""
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
        """Remove a session, if it is a member."""
        if message.who.session not in self._roster:
            self._strangers.wait(message)
            return
        self.unwatch(self.system.ref(SESSION_KIND, message.who.session))
        self._remove(message.who.session)

    @handles(Terminated, local=True)
    def session_ended(self, message: Terminated) -> None:
        """Remove a session that has ended, for whatever reason."""
        self._remove(message.ref.key)

    def _enter(self, message: Join | Resume) -> None:
        """Make a session a member that gets every push from here on."""
        topics, who = self._topics, message.who
        if not topics.is_current(who.session, message.connection):
            raise Refused(UNAVAILABLE, "the connection is gone")
        if who.session not in self._roster:
            if len(self._roster) >= self._settings.members:
                raise Refused(ROOM_FULL)
            member = Member(who.user, who.name)
            self.watch(self.system.ref(SESSION_KIND, who.session))
            if self._roster.add(who.session, who.user, member):
                self._tell_joined(member)  # before the new member is subscribed
        if not topics.subscribe(self._topic, who, message.connection, self.epoch):
            self.unwatch(self.system.ref(SESSION_KIND, who.session))
            self._remove(who.session)
            raise Refused(UNAVAILABLE, "its node takes no pushes now")
        self._strangers.known((who.session,))

    def _remove(self, session: str) -> None:
        self._topics.unsubscribe(self._topic, session)
        gone = self._roster.remove(session)
        if gone is not None:
            self._tell_left(gone)
        self._rest_if_unused()

    @property
    def _gathers(self) -> bool:
        """Whether joins and leaves are gathered now. What was gathered is told first, in order."""
        return self._comings.due or self._roster.users > self._settings.presence_each

    def _tell_joined(self, member: Member) -> None:
        if self._gathers:
            self._comings.joined(member.user, member)
            self._gather()
        else:
            joined = RoomJoined(room=self._name, offset=self._said.offset, member=member)
            self._topics.publish(self._topic, joined, author=member.user)

    def _tell_left(self, member: Member) -> None:
        if self._gathers:
            self._comings.left(member.user, member)
            self._gather()
        else:
            left = RoomLeft(room=self._name, offset=self._said.offset, member=member)
            self._topics.publish(self._topic, left, author=member.user)

    def _gather(self) -> None:
        if not self._comings.due:
            self._comings.due = True
            self.start_timer(self._settings.presence_every_s, TellOfComings(), name="comings")

    @handles(TellOfComings, local=True)
    def tell_of_comings(self, _: TellOfComings) -> None:
        """Tell the members who has come and gone; in a very big room only how many they are."""
        settings, users = self._settings, self._roster.users
        most = settings.members_listed if users <= settings.presence_named else 0
        change = self._comings.end_interval(most)
        named = change or Comers([], [])
        self._topics.publish(
            self._topic,
            RoomPresence(
                room=self._name,
                offset=self._said.offset,
                named=change is not None,
                joined=named.joined,
                left=named.left,
                members_total=users,
            ),
            about=[member.user for member in (*named.joined, *named.left)],
        )

    @handles(LeaveIfEmpty, local=True)
    def rest(self, _: LeaveIfEmpty) -> None:
        """Leave memory if the message that started the room was no join."""
        self._rest_if_unused()

    def _rest_if_unused(self) -> None:
        """Leave memory at once if the room has neither members nor messages."""
        if not self.epoch and not len(self._roster):
            self.passivate()

    # --- what is said ----------------------------------------------------------------------------

    @handles(Post)
    def post(self, message: Post) -> Any:
        """Log a message and push it to the members; the answer is `Sent`, after the commit.

        Raises:
            Refused: NOT_JOINED, TOO_LONG; RATE_LIMITED or BUSY if a budget of pushes is used up.
            StoreBusy: too many events wait for their commit.
        """
        who = self._member(message)
        body, key, limit = message.body, message.key, self._settings.body_bytes
        # A character has at most four bytes, so most bodies need not be encoded to be measured.
        if len(body) * 4 > limit and len(body.encode()) > limit:
            raise Refused(TOO_LONG, f"body: at most {limit} bytes")
        if not self.epoch:
            return self._post_first(message)
        if key is not None:
            earlier = self._said.earlier(who.user, key)
            if earlier is not None:
                # A retry gets the answer to the first try, which may still wait for its commit.
                first = self._uncommitted.get(earlier[0])
                return Sent(*earlier) if first is None else with_others(first)
        self._topics.charge(self._topic, message.who)
        at = self._clock_ms()
        said = Posted(who.user, who.name, body, at, key)
        sent = self.persist(said, Sent(self.seq + 1, at))
        if key is not None:
            self._forget_committed()
            self._uncommitted[self.seq] = sent
        self._topics.publish(self._topic, self._message(self.seq, said), author=who.user)
        return sent

    async def _post_first(self, message: Post) -> Any:
        """Take an epoch, then post. Members keep the epoch of a push as part of their position."""
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
        # Called with the next keyed send. Commits come in order, so a look at the oldest sends is
        # enough, and costs less than a message to the room for each commit.
        uncommitted = self._uncommitted
        while uncommitted:
            offset, sent = next(iter(uncommitted.items()))
            if not sent.done or sent.exception() is not None:
                return  # a failed send stays, so that each retry of it fails as well
            del uncommitted[offset]

    @handles(ForgetUser)
    def forget_user(self, message: ForgetUser) -> None:
        """Erase what a user said from memory and from the snapshot; the log is clean already."""
        if self._said.forget(message.user) or message.stored:
            self.renew_snapshot()

    # --- what is asked ---------------------------------------------------------------------------

    @handles(ListMembers)
    def members(self, message: ListMembers) -> Members:
        """Return the users who came first, and how many there are. Raises `Refused`: NOT_JOINED."""
        self._member(message)
        return Members(self._roster.first(self._settings.members_listed), self._roster.users)

    @handles(ReadRoomHistory)
    def history(self, message: ReadRoomHistory) -> Future[Any] | History:
        """Answer from memory, or with a future if the page reaches further back than memory.

        Raises:
            Refused: NOT_JOINED, OUT_OF_RANGE. The future fails with `Refused`: UNAVAILABLE, if the
                store is away.
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
        # One message more than is shown says whether there are older ones. The first message may
        # have been deleted (`rooms.history_s`, `rooms.history_messages`).
        wanted = ReadPostsBefore(KIND, self._name, page.before, page.older + 1)
        rows = read_before(self.system, wanted)
        return rows.map(lambda found: self._joined(found, page, settings.answer_bytes))

    def _joined(self, rows: Sequence[EventRow], page: HistoryPage, max_bytes: int) -> History:
        """Return a page whose older part came from the event log."""
        before = page.before
        reaches = bool(rows) and rows[-1][2] == before - 1
        if not reaches and (rows or before - 1 > self.committed):
            # The messages between the log's end and memory's begin wait for their commit.
            raise Refused(UNAVAILABLE, "some of these messages are still being stored")
        shown = [LoggedPost(row[2], _decode(row[5])) for row in rows[-page.older :] if page.older]
        entries = newest(shown + page.held, len(shown) + len(page.held), max_bytes)
        oldest = rows[0][2] if rows else before
        return History(_messages(entries), more=bool(entries) and entries[0].offset > oldest)

    def _member(self, message: TopicMessage) -> Member:
        member = self._roster.person(message.who.session)
        if member is None:
            self._strangers.wait(message)
            raise Refused(NOT_JOINED)
        return member


def room_kind(topics: Topics, settings: RoomSettings, clock_ms: Callable[[], int]) -> Kind:
    """Return the kind for `ActorSystem.register`. A room starts when a message comes for it."""

    class ConfiguredRoom(Room):
        mailbox = MailboxSpec(capacity=settings.mailbox)
        snapshot_interval_s = settings.snapshot_interval_s
        replay_last = max(settings.recent, settings.keys)

        def __init__(self, name: str) -> None:
            super().__init__(name, topics, settings, clock_ms)

    return Kind(
        name=KIND,
        factory=ConfiguredRoom,
        idle_after_s=settings.idle_after_s,
        placement="hashed",
        answers=(Sent, History),
    )


def _messages(entries: Sequence[LoggedPost]) -> list[Message]:
    return [Message(offset, said.user, said.name, said.body, said.at) for offset, said in entries]
