"""The node's hub of topics: the members of each topic, and the path of a push to all of them.

The path is Phoenix's fastlane: a push is encoded and framed once for each encoding, and the same
bytes are appended to each member's outbox, past the session actors.

The hub is a plain object, not an actor. It outlives the rooms and matches that own its topics, so a
room that crashes finds its members still joined. Its methods never wait, so an owner changes the
members and publishes in one step, and the pushes on a topic are in the order of these calls.

Only the owner of a topic adds and removes its members. A session changes only its own connection. A
member without a connection, or with a new one, is skipped until the owner has pushed what it missed
and subscribes it again.

In a cluster the hub also knows the members of its owners' topics on other nodes, and tells the hubs
there what it is asked to do (remote_members.py). What other nodes' owners want done here is done by
the hub's other half (remote_topics.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from actors.edge.audience import Audience, Broadcast, Listener, PushQueue, Recipient
from actors.edge.blocks import NOBODY, Blocks, without
from actors.edge.connected_users import ConnectedUsers
from actors.edge.fanout import FREE, Fanout
from actors.edge.hub_messages import Adopt, Dismissed, NameMembers
from actors.edge.hubs import Hubs
from actors.edge.identity import Identity
from actors.edge.remote_members import RemoteMember, RemoteMembers, recover_elsewhere
from actors.edge.rules.bucket import Bucket
from actors.edge.topic_messages import Join, Resume
from protocol.codec import MSGPACK


class Topics:
    """The hub of topics. Each node has one.

    Arguments:
        broadcast: puts one frame into many outboxes: by `replace` if there is a slot, else by
            `push_soon`, or to the same effect.
        fanout: the budgets that `charge` draws on; None: nothing is charged.
        hubs: the way to the hubs of other nodes; None: there is no cluster.

    Attributes:
        on_end: called with the identity of each session that ends.
        blocks: whom the users of this node have blocked.
        users: who has a connection.
        published: how many pushes the owners of this node have published.
        delivered: how many frames were put into outboxes of this node.
    """

    def __init__(
        self,
        broadcast: Broadcast | None = None,
        fanout: Fanout | None = None,
        hubs: Hubs | None = None,
    ) -> None:
        self.fanout = fanout
        self.hubs = hubs
        self.on_end: Callable[[Identity], None] | None = None
        self._broadcast = broadcast or _one_by_one
        self._topics: dict[str, Audience] = {}
        self._listeners: dict[str, Listener] = {}
        self.blocks = Blocks()
        self.users = ConnectedUsers(hubs)
        self.published = 0
        self.delivered = 0

    # --- a session and its connection ----------------------------------------------------------

    def attach(self, who: Identity, link: Recipient, *, new_user: bool = False) -> None:
        """Make `link` the session's connection, in place of any other.

        `new_user`: the id of the session's user has just been made.

        Pushes to the session pause on all its topics. The new connection's client says how far it
        has read each topic, and the topic's owner subscribes it from there.
        """
        listener = self._listeners.get(who.session)
        if listener is None:
            blocking = self.blocks.come(who.user, new_user=new_user)
            listener = self._listeners[who.session] = Listener(who, blocking)
        self._pause(listener)
        if listener.link is None:
            self.users.come(listener.who.user)
        listener.link = link
        listener.resumes.clear()

    def detach(self, session: str, connection: int) -> bool:
        """Take the session's connection away, if it is this one; returns whether it was."""
        listener = self._listeners.get(session)
        if listener is None or not listener.has(connection):
            return False
        self._pause(listener)
        self._unlink(listener)
        return True

    def end_session(self, session: str) -> None:
        """End the session. The owners of its topics count it as a member until they remove it."""
        listener = self._listeners.pop(session, None)
        if listener is not None:
            self._pause(listener)
            self._unlink(listener)
            self.blocks.go(listener.who.user)
            if self.on_end is not None:
                self.on_end(listener.who)

    def begin_resume(self, session: str, topic: str) -> int:
        """Note that the session asks to resume a topic; returns the number of this attempt.

        What an owner pushes for an earlier attempt is not pushed from here on.
        """
        listener = self._listeners.get(session)
        if listener is None or self.hubs is None:
            return 0
        attempt = listener.resumes[topic] = self.hubs.number()
        return attempt

    def give_up_resume(self, session: str, topic: str, attempt: int) -> bool:
        """Have nothing pushed for the newest attempt from here on.

        Returns False if something has been pushed for it already.
        """
        listener = self._listeners.get(session)
        if listener is None or not attempt:
            return True
        return listener.resumes.pop(topic, 0) == attempt

    def link(self, session: str) -> Recipient | None:
        """Return the session's connection; None: it has none, or there is no such session."""
        listener = self._listeners.get(session)
        return None if listener is None else listener.link

    def listener(self, session: str) -> Listener | None:
        """Return a session of this node that has not ended."""
        return self._listeners.get(session)

    def is_current(self, session: str, connection: int) -> bool:
        """Whether this connection is the session's now. Of another node's session it is believed,
        as long as that node takes messages.
        """
        listener = self._listeners.get(session)
        if listener is not None:
            return listener.has(connection)
        node = self.home_of(session)
        return node is not None and self.hubs is not None and self.hubs.reaches(node)

    def new_session(self, number: str) -> str:
        """Return the key of a new session; `number`: what no other session of the node has."""
        return number if self.hubs is None else f"{self.hubs.node}/{number}"

    def home_of(self, session: str) -> str | None:
        """Return the node of a session, if it is another node than this one."""
        return None if self.hubs is None else self.hubs.home_of(session)

    @property
    def sessions(self) -> Collection[str]:
        """Keys of the sessions that have not ended."""
        return self._listeners.keys()

    # --- a topic and its members, for the topic's owner ------------------------------------------

    def subscribe(self, topic: str, who: Identity, connection: int, epoch: int = 0) -> bool:
        """Make the session a member whose connection gets the topic's pushes from here on.

        Arguments:
            topic: the topic, `<kind>:<key>` of its owner.
            who: the session, of this node or of another one.
            connection: the connection that the session had when it asked.
            epoch: that of the owner's incarnation.

        Returns False, and does nothing, if the session has ended or has this connection no longer.
        A newer connection's client does not know of this join. Also if the session's node takes no
        messages now; that it has the connection is believed then.
        """
        listener = self._listeners.get(who.session)
        if listener is None:
            return self._subscribe_elsewhere(topic, who, connection, epoch)
        if not listener.has(connection):
            return False
        there = self._topics.get(topic)
        if there is None:
            there = self._topics[topic] = Audience(topic)
        there.epoch = epoch
        there.add(listener)
        return True

    def unsubscribe(self, topic: str, session: str) -> bool:
        """End the session's membership; returns whether it was a member."""
        there = self._topics.get(topic)
        if there is None or not there.remove(session):
            return False
        if not there.members:
            del self._topics[topic]
        return True

    def gone(self, topic: str, session: str, number: int) -> None:
        """Note that a subscription of another node's session gets no pushes any more."""
        there = self._topics.get(topic)
        member = None if there is None else there.members.get(session)
        if there is None or not isinstance(member, RemoteMember) or member.number != number:
            return  # it has been subscribed anew
        if there.elsewhere is not None:
            there.elsewhere.pause(member)

    def adopt(self, topic: str, message: Adopt, epoch: int) -> list[Identity]:
        """Make members of those that a hub names to the owner, which has come to this node.

        Returns those that were no members yet; some may have no connection.
        """
        adopted = []
        for one in message.members:
            who, there = one.who, self._topics.get(topic)
            if there is not None and who.session in there.members:
                continue
            if not self.subscribe(topic, who, one.connection, epoch):
                listener = self._listeners.get(who.session)
                if listener is None:
                    continue  # it has ended, or its node takes no messages and it will resume
                there = self._topics.setdefault(topic, Audience(topic))
                there.add(listener)
                there.pause(who.session)
            adopted.append(who)
        return adopted

    def hand_over(self, topic: str) -> None:
        """Let the topic go, whose owner has stopped here and lives on another node from here on.

        Each hub with members, this one included, names them to the owner.
        """
        hubs = self.hubs
        there = None if hubs is None else self._topics.pop(topic, None)
        if there is None or hubs is None:
            return
        if there.elsewhere is not None:
            there.elsewhere.hand_over()
        adopt = there.hand_over()
        if adopt is not None:
            hubs.tell(hubs.node, NameMembers(topic, adopt))

    def take_over(self, topic: str, epoch: int) -> int:
        """Note that another incarnation of the owner publishes from here on.

        Returns the epoch of the incarnation that published before. It may be several incarnations
        ago: one on another node, or one that crashed early, has published nothing here.
        """
        there = self._topics.get(topic)
        if there is None:
            return epoch
        before, there.epoch = there.epoch, epoch
        if there.elsewhere is not None:
            there.elsewhere.take_over(epoch)
        return before

    def is_member(self, topic: str, session: str) -> bool:
        """Whether the session is a member, with or without a connection."""
        there = self._topics.get(topic)
        return there is not None and session in there.members

    def members(self, topic: str) -> list[Listener | RemoteMember]:
        """Return all members in the order they came, those without a connection included."""
        there = self._topics.get(topic)
        return [] if there is None else list(there.members.values())

    def dissolve(self, topic: str) -> list[Listener]:
        """Remove all members of the topic, and return those of this node.

        The members on other nodes are told there that they are out.
        """
        there = self._topics.pop(topic, None)
        if there is None:
            return []
        if there.elsewhere is not None:
            there.elsewhere.dissolve()
        return there.release()

    def tell_dismissed(self, topic: str, session: str) -> bool:
        """Have a session of another node told that it was removed from a topic.

        Returns False, and does nothing, if the session is of this node, or its node takes no
        messages now.
        """
        node, hubs = self.home_of(session), self.hubs
        if node is None or hubs is None:
            return False
        return hubs.tell(node, Dismissed(hubs.node, topic, session))

    def share(self, session: str, shared: Bucket) -> None:
        """Charge the session's pushes to `shared` as well, the budget of its address."""
        listener = self._listeners.get(session)
        if listener is not None:
            listener.shared = shared

    def charge(self, topic: str, who: Identity, pushes: int = 1) -> None:
        """Charge a session for pushes to everyone on a topic, before they are published.

        A session of another node has a budget on this one, as has its address.

        Raises:
            Refused: a budget is used up, the session's, its address's or the node's. Then nothing
                was charged.
        """
        there, fanout = self._topics.get(topic), self.fanout
        if there is None or fanout is None:
            return
        reached = len(there.live) if there.elsewhere is None else there.reached
        if reached <= FREE:
            return
        listener = self._listeners.get(who.session)
        if listener is not None:
            if listener.budget is None:
                listener.budget = fanout.budget()
            fanout.charge(listener.budget, listener.shared, reached * pushes)
        elif self.home_of(who.session) is not None:
            fanout.charge_visitor(who, reached * pushes)
        # A session that has ended is not charged for its last request.

    # --- pushes ----------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        push: msgspec.Struct,
        *,
        more: bool = False,
        author: str = "",
        about: Sequence[str] = (),
    ) -> None:
        """Push to every subscribed member.

        A push may wait a few milliseconds for others that go to the same connection.

        Arguments:
            topic: the topic; without members it may be unknown.
            push: the message.
            more: another push to the topic follows in this step, and they should leave together.
            author: the user whose doing it is. Those who have blocked this one get what is left of
                it (`without`).
            about: the same, if it is of several users.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, more=more, author=author, about=about)

    def publish_state(self, topic: str, push: msgspec.Struct) -> None:
        """Push a state to every subscribed member, conflated.

        A connection that has not sent the topic's last state yet sends this one in its place.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, state=True)

    def publish_states(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """Push to every subscribed member the state `push_for(user)` of its user, conflated.

        Raises:
            EncodeError: one of the states cannot be encoded; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for, state=True):
            outbox.replace(topic, frame)

    def publish_each(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """Push to every subscribed member the message `push_for(user)` of its user.

        Raises:
            EncodeError: one of the messages cannot be encoded; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for, state=False):
            outbox.push(frame)

    def publish_to(self, topic: str, sessions: Iterable[str], push: msgspec.Struct) -> None:
        """Push to some members, as far as they are subscribed now.

        Another member needs no push: the owner sends it what it missed when it comes back.

        Raises:
            EncodeError: `push` cannot be encoded.
        """
        there = self._topics.get(topic)
        if there is None:
            return
        far = []
        for session in sessions:
            link = there.live.get(session)
            if link is not None:
                shown = without(push, self.blocks.of(there.members[session].who.user))
                if shown is not None:
                    link.outbox.push(link.encoding.frame(shown))
                    self.delivered += 1
            elif isinstance(member := there.members.get(session), RemoteMember):
                far.append(member)
        if far and there.elsewhere is not None:
            there.elsewhere.publish_to(far, MSGPACK.encode(push))

    def publish_one(self, topic: str, session: str, push: msgspec.Struct) -> None:
        """Push to one member, if it is subscribed now. Raises `EncodeError`."""
        self.publish_to(topic, (session,), push)

    def recover(self, topic: str, asked: Resume, *pushes: msgspec.Struct) -> bool:
        """Push to the session that asked what it missed, if its outbox has room for that now.

        If there is no room, nothing is pushed, and the method returns False. The session stays a
        member, but gets no pushes of the topic until the owner subscribes it again. The method
        returns True if the connection that asked is not the session's any more, if the session has
        given up this attempt, after which it gets no pushes of the topic either, and for a session
        of another node: if there is no room, that node has the session ask again.

        Raises:
            EncodeError: one of `pushes` cannot be encoded; none was pushed.
        """
        session = asked.who.session
        listener = self._listeners.get(session)
        if listener is None:
            node = self.home_of(session)
            if node is None or self.hubs is None:
                return True
            payloads = [MSGPACK.encode(push) for push in pushes]
            return recover_elsewhere(self.hubs, node, topic, asked, payloads)
        link = listener.link
        if link is None or link.id != asked.connection:
            return True
        # The owner may have been on another node when it was asked for an attempt that was lost.
        awaited = listener.pushes_for(topic, asked.attempt)
        if users := listener.blocking.users:
            left = (without(push, users) for push in pushes)
            pushes = tuple(push for push in left if push is not None)
        if awaited and self.push_all(link, [link.encoding.frame(push) for push in pushes]):
            return True
        there = self._topics.get(topic)
        if there is not None:
            there.pause(session)
        return not awaited

    def push_all(self, link: Recipient, frames: Sequence[bytes]) -> bool:
        """Push these to one connection, or none of them and return False if there is no room."""
        if not link.outbox.takes(sum(map(len, frames))):
            return False
        for frame in frames:
            link.outbox.push(frame)
        self.delivered += len(frames)
        return True

    def room_bytes(self, asked: Join) -> int:
        """Return for how many bytes of the answer to a join the session's outbox has room now.

        Of a session of another node it is what the join says.
        """
        listener = self._listeners.get(asked.who.session)
        if listener is None:
            return 0 if self.home_of(asked.who.session) is None else asked.room_bytes
        return 0 if listener.link is None else max(0, listener.link.outbox.room_bytes)

    def _publish(
        self,
        topic: str,
        push: msgspec.Struct,
        *,
        more: bool = False,
        state: bool = False,
        author: str = "",
        about: Sequence[str] = (),
    ) -> None:
        there = self._topics.get(topic)
        if there is None:
            return
        broadcast = _one_by_one if more else self._broadcast
        slot = topic if state else None
        # All frames first: what cannot be encoded goes to nobody.
        blockers = self.blocks.blockers
        if blockers and (author in blockers or about):
            framed = self._framed_apart(there, push, author, about, push)
        else:
            framed = [(encoding.frame(push), outboxes) for encoding, outboxes in there.groups()]
        if there.elsewhere is not None and there.elsewhere.live:
            payload = MSGPACK.encode(push)
            if state:
                there.elsewhere.publish_state(payload)
            else:
                there.elsewhere.publish(payload, more=more, author=author, about=about)
        self.published += 1
        for frame, outboxes in framed:
            self.delivered += len(outboxes)
            broadcast(frame, outboxes, slot)

    def relay(
        self,
        there: Audience,
        push: bytes,
        *,
        more: bool = False,
        state: bool = False,
        author: str = "",
        about: Sequence[str] = (),
    ) -> None:
        """Push to an audience of another node's topic what its owner has published, as msgpack.

        Raises:
            EncodeError: `push` has no encoding that some member reads; nobody got it.
        """
        broadcast = _one_by_one if more else self._broadcast
        slot = there.topic if state else None
        blockers = self.blocks.blockers
        if blockers and (author in blockers or about):
            decoded = MSGPACK.decode_server(push)
            framed = self._framed_apart(there, decoded, author, about, push)
        else:
            framed = [(encoding.reframe(push), outboxes) for encoding, outboxes in there.groups()]
        for frame, outboxes in framed:
            self.delivered += len(outboxes)
            broadcast(frame, outboxes, slot)

    def _framed_apart(
        self,
        there: Audience,
        push: msgspec.Struct,
        author: str,
        about: Sequence[str],
        whole: msgspec.Struct | bytes,
    ) -> list[tuple[bytes, Sequence[PushQueue]]]:
        """Return the frames of a push that some members here may not get as it is.

        `whole` is the push as it is framed for all others.
        """
        blocks = self.blocks
        blockers = blocks.of_any((author, *about)) or NOBODY
        apart = there.apart("" if about else author, blockers, blocks.changes)
        framed = [
            (
                encoding.reframe(whole) if isinstance(whole, bytes) else encoding.frame(whole),
                outboxes,
            )
            for encoding, outboxes in apart.shown
        ]
        if not about:
            left = without(push, (author,))
            if left is not None:
                framed += [(encoding.frame(left), outboxes) for encoding, outboxes in apart.hidden]
            return framed
        for session, link in there.live.items():
            user = there.members[session].who.user
            if user in blockers:
                left = without(push, blocks.of(user))
                if left is not None:
                    framed.append((link.encoding.frame(left), (link.outbox,)))
        return framed

    def _each(
        self, topic: str, push_for: Callable[[str], msgspec.Struct], *, state: bool
    ) -> Iterator[tuple[PushQueue, bytes]]:
        """Yield every subscribed member's outbox of this node with the frame for its user."""
        there = self._topics.get(topic)
        if there is None:
            return
        self.published += 1
        for session, link in list(there.live.items()):
            yield link.outbox, link.encoding.frame(push_for(there.members[session].who.user))
            self.delivered += 1
        if there.elsewhere is not None:
            there.elsewhere.publish_each(there.members.values(), push_for, state=state)

    # --- within ----------------------------------------------------------------------------------

    def _subscribe_elsewhere(self, topic: str, who: Identity, connection: int, epoch: int) -> bool:
        node, hubs = self.home_of(who.session), self.hubs
        if node is None or hubs is None:
            return False  # it has ended
        there = self._topics.get(topic) or Audience(topic)
        elsewhere = there.elsewhere or RemoteMembers(topic, hubs)
        known = there.members.get(who.session)
        member = known if isinstance(known, RemoteMember) else RemoteMember(who, node)
        if not elsewhere.subscribe(member, connection, epoch, anew=known is None):
            return False
        there.epoch, there.elsewhere = epoch, elsewhere
        there.members[who.session] = member
        self._topics[topic] = there
        return True

    def _unlink(self, listener: Listener) -> None:
        """Take a session's connection away, if it has one."""
        if listener.link is not None:
            listener.link = None
            self.users.go(listener.who.user)

    def _pause(self, listener: Listener) -> None:
        for there in listener.topics.values():
            there.pause(listener.who.session)


def _one_by_one(frame: bytes, outboxes: Sequence[PushQueue], slot: str | None = None) -> None:
    for outbox in outboxes:
        if slot is None:
            outbox.push_soon(frame)
        else:
            outbox.replace(slot, frame)
