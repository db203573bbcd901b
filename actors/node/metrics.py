"""What `/metrics` says: one list of readings, gathered when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio

from actors.edge.session_gateway import SessionGateway
from actors.edge.topics import Topics
from actors.matches.host import MatchHost
from actors.node.log_writer import LogWriter
from actors.node.scheduler import ScheduleCounters
from actors.runtime.durability import Durability
from actors.runtime.system import ActorSystem
from actors.runtime.watchdog import Watchdog
from protocol.gateway import Gateway
from protocol.metrics import Histogram, Reading


def _gauge(name: str, text: str, value: float, **labels: str) -> Reading:
    return Reading(f"greenroom_{name}", "gauge", text, value, labels)


def _counter(name: str, text: str, value: float, **labels: str) -> Reading:
    return Reading(f"greenroom_{name}_total", "counter", text, value, labels)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The parts of a node that count."""

    log: LogWriter
    system: ActorSystem
    durability: Durability
    watchdog: Watchdog
    gateway: Gateway
    sessions: SessionGateway
    topics: Topics
    matches: MatchHost
    schedules: ScheduleCounters

    def readings(self) -> Iterator[Reading | Histogram]:
        """Every reading, now. Cheap but for one look at each connection's outbox."""
        yield from self._wire()
        yield from self._sessions()
        yield from self._matches()
        yield from self._runtime()
        yield from self._stores()
        yield from self._schedules()

    def _wire(self) -> Iterator[Reading]:
        gateway, topics = self.gateway.statistics(), self.topics
        flusher = gateway.flusher
        outboxes = [connection.outbox for connection in self.gateway.connections.values()]
        queued = sum(outbox.queued_bytes for outbox in outboxes)
        yield _gauge("connections", "Open connections.", gateway.connections)
        yield _counter("connections_opened", "Connections opened.", gateway.opened)
        for status, count in sorted({0: gateway.dropped, **gateway.refused}.items()):
            text = "Handshakes refused, by HTTP status (0: not read)."
            yield _counter("handshakes_refused", text, count, status=str(status))
        yield _gauge("outbox_bytes", "Bytes waiting to be sent, all connections.", queued)
        yield _counter("published", "Pushes published on topics.", topics.published)
        yield _counter("deliveries", "Frames handed to outboxes of topics.", topics.delivered)
        yield _counter("sends", "Calls of send().", flusher.sends)
        yield _counter("sent_bytes", "Bytes sent to clients.", flusher.bytes_sent)
        yield _counter("sends_blocked", "Sends to a full socket.", flusher.would_block)

    def _sessions(self) -> Iterator[Reading | Histogram]:
        sessions = self.sessions
        present = len(self.topics.sessions)
        yield _gauge("sessions", "Sessions, those that wait for their client included.", present)
        yield _counter("sessions_opened", "Sessions opened.", sessions.opened)
        yield _counter("sessions_resumed", "Sessions resumed.", sessions.resumed)
        yield _counter("sessions_taken_over", "Connections taken over.", sessions.taken_over)
        admission = sessions.admission
        yield _gauge("requests", "Requests that are being answered.", admission.under_way)
        yield admission.answer_s
        yield _gauge("requests_allowed", "So many may be, for now.", admission.allowed)
        yield _counter("shed", "Requests refused as too many are under way.", admission.shed)
        yield _counter(
            "activations_refused",
            "Joins of rooms and matches not in memory, refused as too many.",
            sessions.activations.refused,
        )
        yield _counter("rate_limited", "Requests over a client's rate.", sessions.rate_limited)
        if self.topics.fanout is not None:
            text = "Requests refused as they would go to too many."
            yield _counter("fanout_refused", text, self.topics.fanout.refused)
        text = "Sessions refused as their address had too many."
        yield _counter("sessions_refused", text, sessions.doorman.refused_sessions)
        yield _counter("flooded", "Connections closed as flooding.", sessions.flooded)

    def _matches(self) -> Iterator[Reading]:
        counters = self.matches.counters
        yield _counter("match_ticks", "Ticks of matches.", counters.ticks)
        yield _counter("match_ticks_skipped", "Ticks given up.", counters.ticks_skipped)
        yield _counter("match_ticks_slow", "Ticks over their time.", counters.ticks_over_budget)
        text = "Calls of games over matches.call_limit_s, during which nothing else ran."
        yield _counter("match_calls_hung", text, counters.calls_hung)
        yield _counter("match_inputs", "Inputs taken by games.", counters.inputs)
        yield _counter("match_crashes", "Crashes of games.", counters.crashes)
        yield _counter("matches_ended", "Matches that ended.", counters.ended)
        yield _counter("matches_failed", "Matches that ended as failed.", counters.failed)

    def _runtime(self) -> Iterator[Reading]:
        system = self.system
        counts = system.statistics()
        for kind in ("session", "room", "match"):
            present = sum(1 for _ in system.actors(kind))
            yield _gauge("actors", "Actors in memory.", present, kind=kind)
        yield _gauge("actors_all", "Actors of every kind, supervisors included.", counts.actors)
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield _gauge("tasks", "Tasks of the event loop, parked workers included.", tasks)
        yield _gauge("workers_busy", "Asynchronous handlers under way.", counts.workers)
        yield _counter("messages_handled", "Messages handled by actors.", counts.handled)
        yield _counter("restarts", "Restarts of actors.", counts.restarts)
        yield _counter("dead_letters", "Messages nobody could take.", counts.dead_letters)
        yield _counter(
            "quarantined",
            "Messages kept from an actor that equal ones had crashed.",
            counts.quarantined,
        )
        yield _counter("slow_handlers", "Handlers over 0.1 s.", counts.slow_handlers)
        yield _counter("log_lines_dropped", "Lines that the log had no room for.", self.log.dropped)
        yield _counter("loop_stalls", "Handlers that blocked the loop.", self.watchdog.stuck)

    def _stores(self) -> Iterator[Reading]:
        journal = self.durability.journal.statistics()
        yield _gauge("journal_events", "Events that wait for their commit.", journal.waiting_events)
        yield _gauge("journal_bytes", "The same in bytes.", journal.waiting_bytes)
        yield _counter("events_committed", "Events committed.", journal.committed)
        yield _counter("commits", "Transactions of events.", journal.batches)
        yield _gauge("commit_largest", "Events in the largest.", journal.largest_batch)
        yield _counter("commit_retries", "Attempts that failed.", journal.retries)
        yield _counter("journal_busy", "Events refused as too many wait.", journal.busy)
        yield _counter("fenced", "Incarnations that lost their log.", journal.fenced)
        yield _counter("recovered", "Actors recovered.", self.durability.recovered)
        yield _counter("replayed", "Events replayed for them.", self.durability.replayed)
        if self.durability.snapshotter is not None:
            snapshots = self.durability.snapshotter.statistics()
            yield _gauge("snapshots_waiting", "Snapshots not yet saved.", snapshots.waiting_rows)
            yield _counter("snapshots_saved", "Snapshots saved.", snapshots.saved)
            yield _counter("snapshots_dropped", "Given up for want of room.", snapshots.dropped)
            yield _counter("snapshot_retries", "Attempts that failed.", snapshots.retries)

    def _schedules(self) -> Iterator[Reading]:
        counts = self.schedules
        yield _gauge("schedules_in_flight", "Schedules being delivered.", counts.in_flight)
        text = "How long after its time the last one was delivered."
        yield _gauge("schedule_late_seconds", text, counts.late_s)
        yield _counter("schedules_delivered", "Deliveries, each attempt.", counts.delivered)
        yield _counter("schedules_acknowledged", "Those acknowledged.", counts.acknowledged)
        text = "Attempts refused, failed or not answered."
        yield _counter("schedule_attempts_failed", text, counts.failed)
        yield _counter("schedules_given_up", "Given up after too many.", counts.given_up)
        yield _counter("schedules_put_off", "Put off, their kind unknown here.", counts.homeless)
        yield _counter("schedule_looks", "Looks at what is due.", counts.looks)
        yield _counter("schedule_looks_failed", "As the store was away.", counts.failed_looks)
