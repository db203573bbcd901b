"""A user's inbox: the actor that owns the topic `user:<id>` and knows the user's sessions there."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import pykka

from actors.edge.failures import Refused, refuse_late
from actors.edge.hub_messages import Adopt
from actors.edge.strangers import NobodyElse, Strangers
from actors.edge.topic_messages import Join, Leave, Part, Resume, Resumed, TopicMessage
from actors.edge.warden import SESSION_KIND, guard
from actors.inbox.entries import Found, ReadAfter, ReadBefore, SetRead
from actors.inbox.host import InboxHost
from actors.inbox.messages import KIND, Forget, Look, MarkRead, ReadHistory, user_topic
from actors.inbox.rules.tail import Page, Tail, TailEntry, unread
from actors.runtime.actor import Actor
from actors.runtime.errors import AskTimeout, MailboxFull
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.messages import Terminated
from persistence import StoreError
from protocol.errors import NOT_JOINED, OUT_OF_RANGE, UNAVAILABLE
from protocol.messages.inbox import (
    EPOCH,
    Entry,
    InboxEntry,
    InboxMark,
    InboxMarked,
    InboxPage,
    InboxRecovered,
    InboxState,
)

AGAIN_S: Final = 1.0
"""After how many seconds an inbox is read again if the store did not answer."""


class LeaveIfOffline(msgspec.Struct, frozen=True, gc=False):
    """Timer: leave memory if no session of the user is here."""


class UserInbox(Actor):
    """Keeps the end of an inbox in memory, and pushes new entries to the user's sessions.

    The entries are rows of a table. The actor reads each entry from there after its commit, and
    pushes entries in the order of their offsets. A hint (`Look`) says only that there is something
    to read.

    The actor is in memory as long as a session of the user is a member of the topic. Its handlers
    await their queries, since no other message could be handled correctly before the answer.

    Arguments:
        user: the user whose inbox it is; the key of the actor.
        host: what all inboxes of the node share.
    """

    def __init__(self, user: str, host: InboxHost) -> None:
        super().__init__()
        self._user = user
        self._topic = user_topic(user)
        self._host = host
        self._topics = host.topics
        self._settings = host.settings
        self.sessions: set[str] = set()
        """The sessions of the user that are members of the topic."""
        self._strangers = Strangers(weakref.proxy(self), host.topics)
        self._tail: Tail | None = None
        self._read = 0

    # --- life ------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Take over the sessions of an incarnation that crashed, which the hub still knows."""
        guard(self.system, self.actor_ref)
        self._strangers.expect()
        members = self._topics.members(self._topic)
        self._host.online.come(self._user, again=bool(members))
        for listener in members:
            self.sessions.add(listener.who.session)
            self.watch(self.system.ref(SESSION_KIND, listener.who.session))
        if members:
            self.start_timer(0.0, Look(0))
        else:
            self.start_timer(0.0, LeaveIfOffline())  # the message that started it may be a join

    def on_stop(self) -> None:
        """Have hints for this user dropped from now on."""
        self._host.online.go(self._user)

    def may_passivate(self) -> bool:
        """Stay in memory while there are sessions."""
        return not self.sessions

    @handles(LeaveIfOffline, local=True)
    def rest(self, _: LeaveIfOffline) -> None:
        """Leave memory if the message that started it was no join."""
        if not self.sessions:
            self.passivate()

    # --- coming and going ------------------------------------------------------------------------

    @handles(Join)
    async def join(self, message: Join) -> InboxState:
        """Make a session a member, and return the state of the inbox.

        Raises:
            Refused: NOT_JOINED if it is the inbox of another user; UNAVAILABLE if the store does
                not answer, or the session's connection is another one by now.
        """
        tail = await self._enter(message)
        # A client that joins many topics at once gets fewer entries: else its outbox would
        # overflow.
        room_bytes = self._topics.room_bytes(message) // 2
        return InboxState(
            user=self._user,
            epoch=EPOCH,
            offset=tail.newest,
            read=self._read,
            unread=unread(tail.newest, self._read),
            entries=_entries(tail.last(self._settings.joined_entries, room_bytes)),
        )

    @handles(Resume)
    async def resume(self, message: Resume) -> Resumed:
        """Make a session a member, and push to it what it missed. Raises `Refused` like a join."""
        tail = await self._enter(message)
        missed = tail.since(message.offset) if message.epoch == EPOCH else None
        told = self._topics.recover(self._topic, message, self._recovered(tail, missed))
        return Resumed.MEMBER if told else Resumed.LATER

    @handles(Leave, Part)
    def leave(self, message: Leave | Part) -> None:
        """Remove a session, if it is a member."""
        if message.who.session not in self.sessions:
            self._strangers.wait(message)
            return
        self.unwatch(self.system.ref(SESSION_KIND, message.who.session))
        self._remove(message.who.session)

    @handles(Terminated, local=True)
    def session_ended(self, message: Terminated) -> None:
        """Remove a session that has ended."""
        self._remove(message.ref.key)

    @handles(Adopt)
    async def adopt(self, message: Adopt) -> None:
        """Take over sessions from the node that this inbox has been on.

        They are told how the inbox stands, as nobody here knows how far it was pushed there.
        """
        tail = await self._look()
        adopted = self._topics.adopt(self._topic, self._strangers.unknown(message), 0)
        for who in adopted:
            self.sessions.add(who.session)
            self.watch(self.system.ref(SESSION_KIND, who.session))
        sessions = [who.session for who in adopted]
        self._topics.publish_to(self._topic, sessions, self._recovered(tail, None))
        self._strangers.known(sessions)

    @handles(NobodyElse, local=True)
    def nobody_else(self, _: NobodyElse) -> None:
        """Answer those who were not named as members."""
        self._strangers.nobody_else()

    async def _enter(self, message: Join | Resume) -> Tail:
        """Make a session a member, which gets every push from now on, and return the entries so
        far.
        """
        who, connection = message.who, message.connection
        if who.user != self._user:
            raise Refused(NOT_JOINED, "it is another user's")
        self._strangers.keep_order(message)
        refuse_late(message.until, self.system.now())
        tail = self._tail if isinstance(message, Join) and who.session in self.sessions else None
        if tail is None:  # else the join is a repeated one, and the entries are known
            tail = await self._look()
            refuse_late(message.until, self.system.now())
        if not self._topics.subscribe(self._topic, who, connection):
            raise Refused(UNAVAILABLE, "the connection is gone")
        if who.session not in self.sessions:
            self.sessions.add(who.session)
            self.watch(self.system.ref(SESSION_KIND, who.session))
        self._strangers.known((who.session,))
        return tail

    def _remove(self, session: str) -> None:
        self._topics.unsubscribe(self._topic, session)
        self.sessions.discard(session)
        if not self.sessions:
            self.passivate()

    # --- new entries -----------------------------------------------------------------------------

    @handles(Look)
    async def look(self, message: Look) -> None:
        """Push new entries to the sessions, unless they have them."""
        known = self._tail is not None and message.offset and self._tail.newest >= message.offset
        if known or not self.sessions:
            return
        try:
            await self._look()
        except Refused:
            self.start_timer(AGAIN_S, Look(0), name="look")

    @handles(Forget)
    async def forget(self, _: Forget) -> None:
        """Read the inbox anew, as entries were deleted."""
        self._tail = None
        await self.look(Look(0))

    async def _look(self) -> Tail:
        """Read new entries and push them.

        Raises `Refused`: UNAVAILABLE if the store does not answer.
        """
        tail = self._tail
        if tail is None:
            tail = await self._load()
            reached = self._host.online.reached(self._user)
            if reached is not None:  # the incarnation before has pushed up to there
                self._publish(tail, tail.since(reached))
            self._host.online.reach(self._user, tail.newest)
            return tail
        more = True
        while more:
            page = ReadAfter(
                self._user, tail.newest, self._settings.history_limit, self._settings.answer_bytes
            )
            found: Found = await self._asked(self._host.facts.ask(page))
            more = found.more
            self._read = max(self._read, found.read)
            if found.newest == tail.newest:
                break
            if found.items and found.items[0].offset == tail.newest + 1:
                for item in found.items:
                    tail.append(item)
                self._publish(tail, found.items)
            else:  # entries were deleted before they could be pushed
                tail, more = await self._load(), False
                self._publish(tail, None)
        self._host.online.reach(self._user, tail.newest)
        return tail

    async def _load(self) -> Tail:
        """Read the end of the inbox into memory."""
        settings = self._settings
        wanted = ReadBefore(self._user, 0, settings.recent, settings.answer_bytes)
        found: Found = await self._asked(self._host.facts.ask(wanted))
        self._read = max(self._read, found.read)
        tail = self._tail = Tail(
            found.newest, found.items, recent=settings.recent, max_bytes=settings.answer_bytes
        )
        return tail

    def _publish(self, tail: Tail, items: Sequence[TailEntry] | None) -> None:
        """Push entries to the sessions; None stands for some that are deleted: push the state."""
        if not self.sessions:
            return
        if items is None:
            self._topics.publish(self._topic, self._recovered(tail, None))
            return
        for item in items:
            push = InboxEntry(
                user=self._user,
                offset=item.offset,
                type=item.type,
                payload=item.payload,
                at=item.at,
            )
            self._topics.publish(self._topic, push)
            self._host.online.reach(self._user, item.offset)
            self._host.counters.pushed += 1

    def _recovered(self, tail: Tail, missed: Sequence[TailEntry] | None) -> InboxRecovered:
        """Return the push for entries that were missed; None: the last entries, not recovered."""
        items = tail.last(self._settings.joined_entries) if missed is None else missed
        return InboxRecovered(
            user=self._user,
            recovered=missed is not None,
            epoch=EPOCH,
            offset=tail.newest,
            read=self._read,
            unread=unread(tail.newest, self._read),
            entries=_entries(items),
        )

    # --- requests --------------------------------------------------------------------------------

    @handles(ReadHistory)
    async def history(self, message: ReadHistory) -> InboxPage:
        """Return a page of entries, from memory or, if they are older, from the table.

        Raises:
            Refused: NOT_JOINED, OUT_OF_RANGE; UNAVAILABLE if the store does not answer.
        """
        tail, settings = await self._joined(message), self._settings
        if message.limit > settings.history_limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {settings.history_limit}")
        page = tail.page(message.before, message.limit)
        if page is None:
            # Entries that are not pushed yet are left out, since they will come as pushes.
            before = message.before if 0 < message.before <= tail.newest else tail.newest + 1
            wanted = ReadBefore(self._user, before, message.limit, settings.answer_bytes)
            found: Found = await self._asked(self._host.facts.ask(wanted))
            page = Page(found.items, found.more)
        return InboxPage(
            epoch=EPOCH,
            offset=tail.newest,
            read=self._read,
            unread=unread(tail.newest, self._read),
            entries=_entries(page.items),
            more=page.more,
        )

    @handles(MarkRead)
    async def mark(self, message: MarkRead) -> InboxMark:
        """Move the mark of what is read, and push that to all sessions of the user.

        Raises:
            Refused: NOT_JOINED; UNAVAILABLE if the store does not answer; RATE_LIMITED or BUSY if a
                budget of pushes is used up.
        """
        tail = await self._joined(message)
        offset = min(message.offset, tail.newest)
        if offset > self._read:
            self._topics.charge(self._topic, message.who)
            command = SetRead(self._user, offset)
            marked = await self._asked(self._host.facts.execute(command, user=self._user))
            self._read = max(self._read, marked.offset)
            self._host.counters.marked += 1
            push = InboxMarked(
                user=self._user,
                offset=tail.newest,
                read=self._read,
                unread=unread(tail.newest, self._read),
            )
            self._topics.publish(self._topic, push)
        return InboxMark(
            epoch=EPOCH,
            offset=tail.newest,
            read=self._read,
            unread=unread(tail.newest, self._read),
        )

    async def _joined(self, message: TopicMessage) -> Tail:
        if message.who.session not in self.sessions:
            self._strangers.wait(message)
            raise Refused(NOT_JOINED)
        return self._tail or await self._look()  # there is no tail just after a restart

    async def _asked(self, future: Future[Any]) -> Any:
        """Return the store's answer. Raises `Refused`: UNAVAILABLE if there is none."""
        try:
            return await future
        except (StoreError, AskTimeout, MailboxFull, pykka.ActorDeadError) as error:
            self.log.warning("inbox_not_reached", user=self._user, error=repr(error))
            raise Refused(UNAVAILABLE, "the inbox cannot be read or changed now") from error


def user_kind(host: InboxHost) -> Kind:
    """Return the kind for `ActorSystem.register`."""

    class ConfiguredInbox(UserInbox):
        mailbox = MailboxSpec(capacity=host.settings.mailbox)

        def __init__(self, user: str) -> None:
            super().__init__(user, host)

    return Kind(name=KIND, factory=ConfiguredInbox, placement="hashed", hints=(Look,))


def _entries(items: Iterable[TailEntry]) -> list[Entry]:
    return [Entry(item.offset, item.type, item.payload, item.at) for item in items]
