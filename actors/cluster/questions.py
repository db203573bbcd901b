"""What this node has asked other nodes, and what they have not answered yet."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import structlog

from actors.cluster.codec import KindCodec
from actors.cluster.error_forms import ErrorCodec
from actors.cluster.errors import DeliveryUnknown
from actors.cluster.items import Answer, Failed
from actors.runtime.future import Future
from actors.runtime.reply import Reply

_log = structlog.get_logger("actors.cluster")

_DEFAULT_S: Final = float("inf")


class Question(NamedTuple):
    """An answer to come.

    `asked` is the type of the message; None: the answer is plain. `node` is where it was sent;
    empty: it waits until its slot has a holder.
    """

    future: Future[Any]
    codec: KindCodec
    key: str
    asked: type | None
    node: str


class Questions:
    """Futures by the numbers under which answers come back."""

    def __init__(self, errors: ErrorCodec) -> None:
        self._errors = errors
        self._open: dict[int, Question] = {}
        self._number = 0

    def add(self, question: Question) -> int:
        """Return the number for the answer."""
        number = self._number = self._number + 1
        self._open[number] = question
        return number

    def settle(self, item: Answer | Failed) -> None:
        """Settle the future. If its deadline has passed, the answer is dropped."""
        question = self._open.pop(item.number, None)
        if question is None:
            return
        if isinstance(item, Failed):
            question.future.settle_quietly(error=self._errors.decode(item.error, item.parts))
            return
        try:
            answer = question.codec.decode_answer(question.asked, item.type, item.payload)
        except Exception as error:
            _log.warning("answer_unreadable", kind=question.codec.kind, error=str(error))
            question.future.settle_quietly(error=error)
        else:
            question.future.settle_quietly(answer)

    def lost(self, why: str, node: str | None = None) -> None:
        """Fail the questions to a node, or to all nodes, because the answers may never come."""
        for number, question in list(self._open.items()):
            if node is None or question.node == node:
                del self._open[number]
                question.future.settle_quietly(error=_unknown(question, why))

    def sweep(self) -> None:
        """Forget what nobody waits for any more."""
        for number, question in list(self._open.items()):
            if question.future.done:
                del self._open[number]


def _unknown(question: Question, why: str) -> DeliveryUnknown:
    future = question.future
    timeout_s = future.timeout_s if isinstance(future, Reply) else _DEFAULT_S
    asked = "the request" if question.asked is None else question.asked.__name__
    return DeliveryUnknown(f"{question.codec.kind}/{question.key}", asked, timeout_s, why)
