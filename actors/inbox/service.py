"""The service of inboxes: a topic for each user, whose entries wait while the user is offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from actors.facts import Facts
from actors.inbox.entries import COMMANDS, QUERIES, Erase, Export, Trim
from actors.inbox.host import InboxCounters, InboxHost
from actors.inbox.lookout import LOOKOUT, Lookout
from actors.inbox.messages import KIND, Forget
from actors.inbox.online_users import OnlineUsers
from actors.inbox.routes import ROUTES
from actors.inbox.settings import InboxSettings
from actors.inbox.user import user_kind
from actors.retention import ALL, EVENTS, NAMES, Did, Retention, before_us
from actors.runtime.child import ChildSpec
from actors.runtime.future import Future
from actors.runtime.journal import unix_us
from actors.runtime.system import ActorSystem
from actors.service import Frame, Running, Service
from protocol.http.metrics import Reading, counter, gauge
from protocol.messages import inbox


def start(frame: Frame) -> Running:
    """Start the lookout and the retention. An inbox starts when a session of its user joins."""
    settings = frame.settings.section("inboxes", InboxSettings)
    system, facts, counters = frame.system, frame.facts, InboxCounters()
    online = OnlineUsers(system)
    host = InboxHost(
        topics=frame.topics, facts=facts, settings=settings, online=online, counters=counters
    )
    system.register(user_kind(host))
    frame.pushes.listen(online.pushed)
    system.supervise([ChildSpec(id="0", factory=partial(Lookout, host))], key=LOOKOUT)
    if settings.forgets:
        make = partial(Retention, "inboxes", trimming(facts, settings))
        system.supervise([ChildSpec(id="0", factory=make)], key="inbox-retention")
    return Running(
        routes=ROUTES,
        readings=partial(readings, online, counters),
        export=partial(export, facts),
        erase=partial(erase, system, facts),
    )


def trimming(
    facts: Facts, settings: InboxSettings, now_us: Callable[[], int] = unix_us
) -> Callable[[str], Future[Did]]:
    """Return a step of `Retention`: it deletes entries that are not to be kept any more."""

    def step(after: str) -> Future[Did]:
        trim = Trim(
            after=after,
            names=NAMES,
            kept=settings.kept or ALL,
            before_us=before_us(settings.kept_s, now_us()),
            most=EVENTS,
        )
        return facts.execute(trim, user="retention")

    return step


async def export(facts: Facts, user: str) -> Any:
    """Return all entries of a user that are kept, as plain values."""
    return await facts.ask(Export(user))


async def erase(system: ActorSystem, facts: Facts, user: str) -> None:
    """Delete a user's entries, including those in memory."""
    await facts.execute(Erase(user), user=user)
    if system.lookup(KIND, user) is not None:
        system.ref(KIND, user).notify(Forget())


def readings(online: OnlineUsers, counters: InboxCounters) -> Iterator[Reading]:
    """Yield the metrics of inboxes."""
    yield gauge("users_online", "Users with a session in their inbox.", len(online))
    yield counter("inbox_entries_pushed", "Entries pushed to users online.", counters.pushed)
    yield counter("inbox_marks", "Inboxes marked as read.", counters.marked)
    text = "Inboxes with entries that no hint had told of."
    yield counter("inbox_late", text, counters.late)


INBOX: Final = Service(
    name="inbox",
    area=inbox.AREA,
    sections={"inboxes": InboxSettings},
    kinds={KIND: ()},
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
    start=start,
)
