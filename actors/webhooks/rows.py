"""The rows of webhooks and of what is on its way to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import NOT_FOUND, QUOTA_EXCEEDED

SERVICE: Final = "webhooks"
LISTED: Final = 100
"""How many events one list has at most."""


class WebhookRow(msgspec.Struct, frozen=True):
    """A webhook, without its secret. Times are in milliseconds since 1970, UTC.

    `stopped`: why nothing is sent any more; null: it is. `full`: since when too many events wait,
    so that new ones are left out; null: they are not. `last`, `last_outcome`: of the last try.
    """

    id: str
    url: str
    events: list[str]
    created_by: str
    created: int
    stopped: str | None
    full: int | None
    last: int | None
    last_outcome: str
    waiting: int
    dead: int


class DeliveryRow(msgspec.Struct, frozen=True):
    """An event on its way to a webhook. `next`: when it is tried next; null: it is dead."""

    id: str
    webhook: str
    type: str
    body: str
    created: int
    next: int | None
    attempts: int
    last_outcome: str


class MakeWebhook(msgspec.Struct, frozen=True):
    """Keeps a webhook. Refused with QUOTA_EXCEEDED if there are `most`."""

    id: str
    url: str
    events: Sequence[str]
    secret: bytes
    by: str
    address: str
    most: int


class DropWebhook(msgspec.Struct, frozen=True):
    """Deletes a webhook and what waits for it. Refused with NOT_FOUND if there is none."""

    id: str
    by: str
    address: str


class ResumeWebhook(msgspec.Struct, frozen=True):
    """Sends to a webhook again, its dead events too. Refused with NOT_FOUND if there is none."""

    id: str
    by: str
    address: str


class TakeDue(msgspec.Struct, frozen=True):
    """Takes events that are due, for a node to send.

    Another node takes them after `lease_s` seconds, if it is not told what became of them. Answer:
    `DueEvents`.
    """

    most: int
    lease_s: float


class DueEvent(msgspec.Struct, frozen=True):
    """An event to send. `attempt`: the number of this try, from 1 on; `age_s`: since the event."""

    id: str
    url: str
    secret: bytes
    body: str
    attempt: int
    age_s: float


class DueEvents(msgspec.Struct, frozen=True):
    """The answer to `TakeDue`."""

    events: list[DueEvent]


class SettleTry(msgspec.Struct, frozen=True):
    """Writes down what became of a try.

    Attributes:
        taken: the receiver has it.
        outcome: what became of it, in words.
        again_s: in how many seconds it is tried again; None: it is dead.
        stopped: why nothing more is to be sent to this webhook; None: it goes on.
    """

    id: str
    taken: bool
    outcome: str
    again_s: float | None
    stopped: str | None = None


class TidyWebhooks(msgspec.Struct, frozen=True):
    """Deletes dead events that are too old, and notes which webhooks have too many waiting."""

    dead_kept_s: float
    waiting: int


class ListWebhooks(msgspec.Struct, frozen=True):
    """Lists all webhooks, the oldest first. Answer: a list of `WebhookRow`s."""


class ListDeliveries(msgspec.Struct, frozen=True):
    """Lists events of a webhook: the dead ones, or those that wait, the oldest first."""

    webhook: str
    dead: bool


def _make(tx: Transaction, command: MakeWebhook) -> None:
    row = tx.read("SELECT count(*) FROM webhooks").fetchone()
    assert row is not None
    if row[0] >= command.most:
        raise Refused(QUOTA_EXCEEDED, f"there are {command.most} webhooks already")
    tx.write(
        "INSERT INTO webhooks (id, url, events, secret, created_by) VALUES (%s, %s, %s, %s, %s)",
        (command.id, command.url, list(command.events), command.secret, command.by),
    )
    details = {"events": list(command.events)}
    _record(tx, "webhook.made", command, details)


def _drop(tx: Transaction, command: DropWebhook) -> None:
    if not tx.write("DELETE FROM webhooks WHERE id = %s", (command.id,)).rowcount:
        raise Refused(NOT_FOUND, "no webhook has this id")
    _record(tx, "webhook.dropped", command)


def _resume(tx: Transaction, command: ResumeWebhook) -> None:
    resumed = tx.write("UPDATE webhooks SET stopped = NULL WHERE id = %s", (command.id,))
    if not resumed.rowcount:
        raise Refused(NOT_FOUND, "no webhook has this id")
    tx.write(
        "UPDATE webhook_deliveries"
        " SET next_at = now(), dead_at = NULL, created_at = now(), attempts = 0"
        " WHERE webhook_id = %s AND dead_at IS NOT NULL",
        (command.id,),
    )
    _record(tx, "webhook.resumed", command)


def _record(
    tx: Transaction,
    what: str,
    command: MakeWebhook | DropWebhook | ResumeWebhook,
    details: dict[str, list[str]] | None = None,
) -> None:
    tx.record(
        AuditEntry(
            what=what,
            who=command.by,
            address=command.address,
            on_whom=command.id,
            details=details or {},
        )
    )


def _take_due(tx: Transaction, command: TakeDue) -> DueEvents:
    rows = tx.write(
        """
        WITH due AS (
            SELECT d.id FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id
            WHERE d.next_at <= now() AND w.stopped IS NULL
            ORDER BY d.next_at LIMIT %s FOR UPDATE OF d SKIP LOCKED
        )
        UPDATE webhook_deliveries AS d
        SET next_at = now() + make_interval(secs => %s), attempts = d.attempts + 1
        FROM due, webhooks AS w WHERE d.id = due.id AND w.id = d.webhook_id
        RETURNING d.id, w.url, w.secret, d.body, d.attempts,
                  extract(epoch FROM now() - d.created_at)::float8
        """,
        (command.most, command.lease_s),
    ).fetchall()
    return DueEvents([DueEvent(*row) for row in rows])


def _settle(tx: Transaction, command: SettleTry) -> None:
    row = tx.read(
        "SELECT webhook_id FROM webhook_deliveries WHERE id = %s", (command.id,)
    ).fetchone()
    if row is None:
        return  # its webhook was deleted
    if command.taken:
        tx.write("DELETE FROM webhook_deliveries WHERE id = %s", (command.id,))
    else:
        tx.write(
            "UPDATE webhook_deliveries SET last_outcome = %s,"
            " next_at = now() + make_interval(secs => %s),"
            " dead_at = CASE WHEN %s::float8 IS NULL THEN now() END WHERE id = %s",
            (command.outcome, command.again_s, command.again_s, command.id),
        )
    tx.write(
        "UPDATE webhooks SET last_at = now(), last_outcome = %s, stopped = coalesce(%s, stopped)"
        " WHERE id = %s",
        (command.outcome, command.stopped, row[0]),
    )


def _tidy(tx: Transaction, command: TidyWebhooks) -> None:
    tx.write(
        "DELETE FROM webhook_deliveries WHERE dead_at < now() - make_interval(secs => %s)",
        (command.dead_kept_s,),
    )
    tx.write(
        """
        UPDATE webhooks AS w
        SET full_at = CASE WHEN n.waiting >= %(most)s THEN coalesce(w.full_at, now()) END
        FROM (
            SELECT w.id, count(d.id) FILTER (WHERE d.next_at IS NOT NULL) AS waiting
            FROM webhooks AS w LEFT JOIN webhook_deliveries AS d ON d.webhook_id = w.id
            GROUP BY w.id
        ) AS n
        WHERE n.id = w.id AND (
            (w.full_at IS NULL AND n.waiting >= %(most)s)
            OR (w.full_at IS NOT NULL AND n.waiting * 2 < %(most)s)
        )
        """,
        {"most": command.waiting},
    )


def _list(reading: ReadTransaction, _: ListWebhooks) -> list[WebhookRow]:
    rows = reading.read(
        """
        SELECT w.id, w.url, w.events, w.created_by,
               (extract(epoch FROM w.created_at) * 1000)::bigint,
               w.stopped, (extract(epoch FROM w.full_at) * 1000)::bigint,
               (extract(epoch FROM w.last_at) * 1000)::bigint, w.last_outcome,
               count(d.id) FILTER (WHERE d.next_at IS NOT NULL),
               count(d.id) FILTER (WHERE d.dead_at IS NOT NULL)
        FROM webhooks AS w LEFT JOIN webhook_deliveries AS d ON d.webhook_id = w.id
        GROUP BY w.id ORDER BY w.created_at, w.id
        """
    )
    return [WebhookRow(*row) for row in rows]


def _deliveries(reading: ReadTransaction, query: ListDeliveries) -> list[DeliveryRow]:
    rows = reading.read(
        """
        SELECT id, webhook_id, type, body, (extract(epoch FROM created_at) * 1000)::bigint,
               (extract(epoch FROM next_at) * 1000)::bigint, attempts, last_outcome
        FROM webhook_deliveries WHERE webhook_id = %s AND (dead_at IS NOT NULL) = %s
        ORDER BY created_at, id LIMIT %s
        """,
        (query.webhook, query.dead, LISTED),
    )
    return [DeliveryRow(*row) for row in rows]


def _lock(_: object) -> Iterable[str]:
    return (SERVICE,)


COMMANDS: Final = (
    CommandKind(service=SERVICE, name="make", command=MakeWebhook, locks=_lock, run=_make),
    CommandKind(service=SERVICE, name="drop", command=DropWebhook, locks=_lock, run=_drop),
    CommandKind(service=SERVICE, name="resume", command=ResumeWebhook, locks=_lock, run=_resume),
    CommandKind(
        service=SERVICE, name="take due", command=TakeDue, answer=DueEvents, locks=_lock,
        run=_take_due,
    ),
    CommandKind(service=SERVICE, name="settle", command=SettleTry, locks=_lock, run=_settle),
    CommandKind(service=SERVICE, name="tidy", command=TidyWebhooks, locks=_lock, run=_tidy),
)  # fmt: skip
QUERIES: Final = (QueryKind(ListWebhooks, _list), QueryKind(ListDeliveries, _deliveries))
