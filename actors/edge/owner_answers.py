"""What the owner of a topic answers to a session, and what that means for the membership."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from actors.edge.connected_client import ConnectedClient
from actors.edge.failures import Refused
from actors.edge.rules.membership import AnswerMeaning
from actors.edge.topic_messages import Resumed, TopicMessage
from actors.runtime.errors import ActorFailed, MailboxFull, Quarantined, StoreBusy
from actors.runtime.future import Future
from protocol.errors import UNAVAILABLE
from protocol.messages.envelope import Position


class Resuming(NamedTuple):
    """The client that comes back to a topic, its position there, until when it is told, and the
    number of this attempt (`Topics.begin_resume`).
    """

    client: ConnectedClient
    position: Position
    until: float
    attempt: int


class OwnerAnswered(msgspec.Struct, frozen=True):
    """A session to itself: the topic's owner answered request `number`, or could not be asked.

    `asked`: the type of the request. `resuming`: of a resume, the client that it is for.
    """

    topic: str
    number: int
    asked: type[TopicMessage]
    resuming: Resuming | None
    done: Future[Any]

    def meaning_in(self) -> AnswerMeaning:
        """Say what the answer to a join or a resume means for the membership."""
        error = self.done.exception()
        if error is None:
            over = self.done.result() is Resumed.OVER
            return AnswerMeaning.DENIED if over else AnswerMeaning.DONE
        if isinstance(error, MailboxFull | StoreBusy | Quarantined | ActorFailed):
            return AnswerMeaning.UNDONE
        if isinstance(error, Refused):
            return AnswerMeaning.UNDONE if error.error is UNAVAILABLE else AnswerMeaning.DENIED
        return AnswerMeaning.UNKNOWN

    def meaning_out(self) -> AnswerMeaning:
        """Say what the answer to a leave or a part means for the membership."""
        error = self.done.exception()
        if error is None or isinstance(error, ActorFailed):  # a failed owner has no members
            return AnswerMeaning.DONE
        if isinstance(error, MailboxFull | StoreBusy | Quarantined):
            return AnswerMeaning.UNDONE
        return AnswerMeaning.UNKNOWN
