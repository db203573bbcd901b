"""The service of the audit log: it writes down what staff does, and has staff read it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.audit.desk import AuditDesk
from actors.audit.rows import COMMANDS, QUERIES, SERVICE, ForgetEntries
from actors.audit.settings import AuditSettings
from actors.audit.watch import AuditWatch
from actors.audit_trail import AuditTrail
from actors.edge.routes import AskService
from actors.edge.rules.bucket import Bucket
from actors.facts import Facts
from actors.retention import Did, Retention
from actors.runtime.child import ChildSpec
from actors.runtime.future import Future
from actors.service import Frame, Running, Service
from protocol.http.metrics import Reading, counter, gauge
from protocol.messages import audit
from protocol.messages.audit import AuditList


def start(frame: Frame) -> Running:
    """Start what drops old months, and makes new ones."""
    settings = frame.settings.section(SERVICE, AuditSettings)
    desk = AuditDesk(settings, frame.facts)
    refusals = Bucket(settings.refusals_per_s, settings.refusals_burst)
    watch = AuditWatch(frame.audit.record, frame.system.now, refusals)
    make = partial(Retention, "audit", partial(forget_months, frame.facts, settings.kept_s))
    frame.system.supervise([ChildSpec(id="0", factory=make)], key="audit-retention")
    return Running(
        routes={AuditList: AskService(desk.page)},
        watch=watch,
        readings=partial(readings, frame.audit, watch),
        export=desk.export,
        erase=desk.erase,
    )


def forget_months(facts: Facts, kept_s: float, _: str) -> Future[Did]:
    """Drop old months: a step of `Retention`, which is a whole round."""
    return facts.execute(ForgetEntries(kept_s), user="retention")


def readings(trail: AuditTrail, watch: AuditWatch) -> Iterator[Reading]:
    """Yield the metrics of the audit log."""
    for what, count in watch.seen.items():
        text = "Requests for the audit log; left_out: refusals beyond audit.refusals_per_s."
        yield counter("audit_requests", text, count, what=what)
    for how, count in trail.recorded.items():
        text = "Entries of no transaction; logged: too many waited, and the log has them."
        yield counter("audit_entries", text, count, how=how)
    yield gauge("audit_waiting", "Entries that wait for PostgreSQL.", trail.waiting)


AUDIT: Final = Service(
    name=SERVICE,
    area=audit.AREA,
    sections={SERVICE: AuditSettings},
    kinds={},
    start=start,
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
