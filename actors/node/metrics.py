"""The readings of `/metrics`, gathered for each request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import trio

from actors.edge.session_gateway import SessionGateway
from actors.edge.topics import Topics
from actors.node.clustering import ClusterNode
from actors.node.log_writer import LogWriter
from actors.node.scheduler import ScheduleCounters
from actors.node.stores import NodeStores
from actors.node.web_api import WebApi
from actors.runtime.durability import Durability
from actors.runtime.system import ActorSystem
from actors.runtime.watchdog import Watchdog
from actors.service import Running
from protocol.http.metrics import Histogram, Reading, counter, gauge
from protocol.server.gateway import Gateway


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The parts of a node that have readings.

    `kinds`: the kinds of actors that are counted. `cluster`: None if there is only this node.
    """

    log: LogWriter
    system: ActorSystem
    durability: Durability
    stores: NodeStores
    watchdog: Watchdog
    gateway: Gateway
    sessions: SessionGateway
    api: WebApi
    topics: Topics
    services: Sequence[Running]
    kinds: Sequence[str]
    schedules: ScheduleCounters
    cluster: ClusterNode | None = None

    def readings(self) -> Iterator[Reading | Histogram]:
        """Yield every reading. The cost is one look at each connection's outbox."""
        yield from self._wire()
        yield from self._sessions()
        yield from self.api.readings()
        for service in self.services:
            yield from service.readings()
        yield from self._runtime()
        yield from self._stores()
        yield from self._schedules()
        if self.cluster is not None:
            yield from self.cluster.readings()

    def _wire(self) -> Iterator[Reading]:
        gateway, topics = self.gateway.statistics(), self.topics
        flusher = gateway.flusher
        outboxes = [connection.outbox for connection in self.gateway.connections.values()]
        queued = sum(outbox.waiting_bytes for outbox in outboxes)
        yield gauge("connections", "Open connections.", gateway.connections)
        yield counter("connections_opened", "Connections opened.", gateway.opened)
        for status, count in sorted({0: gateway.dropped, **gateway.refused}.items()):
            text = "Handshakes refused, by HTTP status (0: not read)."
            yield counter("handshakes_refused", text, count, status=str(status))
        yield gauge("outbox_bytes", "Bytes waiting to be sent, all connections.", queued)
        yield counter("published", "Pushes published on topics.", topics.published)
        yield counter("deliveries", "Frames handed to outboxes of topics.", topics.delivered)
        yield counter("sends", "Calls of send().", flusher.sends)
        yield counter("sent_bytes", "Bytes sent to clients.", flusher.bytes_sent)
        yield counter("sends_blocked", "Sends to a full socket.", flusher.would_block)
        text = "Connections closed as too much waited for too long, or for all of them together."
        yield counter("connections_too_slow", text, gateway.too_slow)

    def _sessions(self) -> Iterator[Reading | Histogram]:
        sessions = self.sessions
        present = len(self.topics.sessions)
        yield gauge("sessions", "Sessions, those that wait for their client included.", present)
        yield counter("sessions_opened", "Sessions opened.", sessions.opened)
        yield counter("sessions_resumed", "Sessions resumed.", sessions.resumed)
        yield counter("sessions_taken_over", "Connections taken over.", sessions.taken_over)
        admission = sessions.admission
        yield gauge("requests", "Requests that are being answered.", admission.under_way)
        yield admission.answer_s
        yield gauge("requests_allowed", "So many may be, for now.", admission.allowed)
        yield counter("shed", "Requests refused as too many are under way.", admission.shed)
        yield counter(
            "activations_refused",
            "Joins of rooms and matches not in memory, refused as too many.",
            sessions.activations.refused,
        )
        yield counter("rate_limited", "Requests over a client's rate.", sessions.rate_limited)
        if self.topics.fanout is not None:
            text = "Requests refused as they would go to too many."
            yield counter("fanout_refused", text, self.topics.fanout.refused)
        text = "Sessions refused as their address had too many."
        yield counter("sessions_refused", text, sessions.doorman.refused_sessions)
        yield counter("flooded", "Connections closed as flooding.", sessions.flooded)

    def _runtime(self) -> Iterator[Reading]:
        system = self.system
        counts = system.statistics()
        for kind in self.kinds:
            present = sum(1 for _ in system.actors(kind))
            yield gauge("actors", "Actors in memory.", present, kind=kind)
        yield gauge("actors_all", "Actors of every kind, supervisors included.", counts.actors)
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield gauge("tasks", "Tasks of the event loop, parked workers included.", tasks)
        yield gauge("workers_busy", "Asynchronous handlers under way.", counts.workers)
        yield counter("messages_handled", "Messages handled by actors.", counts.handled)
        yield counter("restarts", "Restarts of actors.", counts.restarts)
        yield counter("dead_letters", "Messages nobody could take.", counts.dead_letters)
        yield counter(
            "quarantined",
            "Messages kept from an actor that equal ones had crashed.",
            counts.quarantined,
        )
        yield counter("slow_handlers", "Handlers over 0.1 s.", counts.slow_handlers)
        yield counter("log_lines_dropped", "Lines that the log had no room for.", self.log.dropped)
        yield counter(
            "loop_stalls", "Times that the loop was blocked for a second.", self.watchdog.stuck
        )

    def _stores(self) -> Iterator[Reading]:
        journal = self.durability.journal.statistics()
        yield gauge("journal_events", "Events that wait for their commit.", journal.waiting_events)
        yield gauge("journal_bytes", "The same in bytes.", journal.waiting_bytes)
        yield counter("events_committed", "Events committed.", journal.committed)
        yield counter("commits", "Transactions of events.", journal.batches)
        yield gauge("commit_largest", "Events in the largest.", journal.largest_batch)
        yield counter("commit_retries", "Attempts that failed.", journal.retries)
        yield counter("journal_busy", "Events refused as too many wait.", journal.busy)
        yield counter("fenced", "Incarnations that lost their log.", journal.fenced)
        yield counter("recovered", "Actors recovered.", self.durability.recovered)
        yield counter("replayed", "Events replayed for them.", self.durability.replayed)
        text = "Snapshots that an actor failed to make; its events are kept."
        yield counter("snapshots_failed", text, self.durability.unsnapshotable)
        if self.durability.snapshotter is not None:
            snapshots = self.durability.snapshotter.statistics()
            yield gauge("snapshots_waiting", "Snapshots not yet saved.", snapshots.waiting_rows)
            yield counter("snapshots_saved", "Snapshots saved.", snapshots.saved)
            yield counter("snapshots_dropped", "Given up for want of room.", snapshots.dropped)
            yield counter("snapshot_retries", "Attempts that failed.", snapshots.retries)

        lag = self.stores.replica_lag
        if lag is not None:
            text = "How far the replica is behind, at most; infinite: not known."
            yield gauge("replica_lag_seconds", text, lag.seconds())
            events, facts = self.stores.events, self.stores.facts
            text = "Reads of history and lists, by who answered them."
            primary = events.not_from_replica + facts.not_from_replica
            replica = events.from_replica + facts.from_replica
            yield counter("replica_reads", text, primary, by="primary")
            yield counter("replica_reads", text, replica, by="replica")

    def _schedules(self) -> Iterator[Reading]:
        counts = self.schedules
        yield gauge("schedules_in_flight", "Schedules being delivered.", counts.in_flight)
        text = "How long after its time the last one was delivered."
        yield gauge("schedule_late_seconds", text, counts.late_s)
        yield counter("schedules_delivered", "Deliveries, each attempt.", counts.delivered)
        yield counter("schedules_acknowledged", "Those acknowledged.", counts.acknowledged)
        text = "Attempts refused, failed or not answered."
        yield counter("schedule_attempts_failed", text, counts.failed)
        yield counter("schedules_given_up", "Given up after too many.", counts.given_up)
        yield counter("schedules_put_off", "Put off, their kind unknown here.", counts.homeless)
        yield counter("schedule_looks", "Looks at what is due.", counts.looks)
        yield counter("schedule_looks_failed", "As the store was away.", counts.failed_looks)
