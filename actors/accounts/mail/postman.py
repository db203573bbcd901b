"""`Postman`: takes letters from the queue, has them sent, and tries again what was not."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
import structlog

from actors.accounts.identities import hash_of
from actors.accounts.mail.letters import filled_in, new_code, plain_code
from actors.accounts.mail.rows import (
    DueLetter,
    LettersSettled,
    LettersTaken,
    TakeMail,
)
from actors.accounts.mail.sender import LetterOutcome, OutgoingLetter, SendLetters
from actors.accounts.mail.settings import MailSettings
from actors.facts import Facts
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.ref import ActorRef
from actors.runtime.restart import Backoff

POSTMAN: Final = "postman"
BATCH: Final = 20
"""So many letters are taken at once."""

log = structlog.get_logger("actors.accounts.mail")


class LookForMail(msgspec.Struct, frozen=True, gc=False):
    """Says that letters may wait; also a timer."""


class _Taken(msgspec.Struct, frozen=True):
    done: Future[Any]
    codes: list[str]


class _Sent(msgspec.Struct, frozen=True):
    done: Future[Any]
    letters: list[DueLetter]


class _Noted(msgspec.Struct, frozen=True):
    done: Future[Any]
    more: bool


class Postman(Actor):
    """Sends letters in rounds, one at a time.

    Arguments:
        facts: runs the commands of the queue.
        sender: the ref of a `MailSender`.
        settings: the section of mail.
        counts: how many letters were "sent", "refused" for good, "failed" and to be tried again,
            and "expired"; for the metrics.
    """

    def __init__(
        self, facts: Facts, sender: ActorRef, settings: MailSettings, counts: Counter[str]
    ) -> None:
        super().__init__()
        self._facts = facts
        self._sender = sender
        self._settings = settings
        self._counts = counts
        self._busy = False
        self._pauses = Backoff(first_s=settings.first_retry_s, max_s=settings.longest_retry_s)
        self._send_s = 6 * settings.timeout_s
        """How long one round may send. One letter takes a few steps of the mail server."""

    def on_start(self) -> None:
        self.start_timer(0.0, LookForMail(), name="look")

    @handles(LookForMail, local=True)
    def look(self, _: LookForMail) -> None:
        """Begin a round, unless one is under way."""
        self.start_timer(self._settings.look_every_s, LookForMail(), name="look")
        if not self._busy:
            self._busy = True
            codes = [new_code() for _ in range(BATCH)]
            hashes = [hash_of(plain_code(code)) for code in codes]
            # The lease is longer than a round can take, or else a second node sends them as well.
            command = TakeMail(hashes, 4 * self._send_s)
            taken = self._facts.execute(command, user=POSTMAN)
            self.pipe_to_self(taken, lambda done: _Taken(done, codes))

    @handles(_Taken, local=True)
    def taken(self, message: _Taken) -> None:
        """Have letters sent."""
        if message.done.exception() is not None:
            self._busy = False  # the timer tries again
            return
        taken: LettersTaken = message.done.result()
        self._counts["expired"] += taken.expired
        if not taken.letters:
            self._busy = False
            return
        product = self._settings.product
        outgoing = []
        for letter, code in zip(taken.letters, message.codes, strict=False):
            text = filled_in(letter.letter, product, code, max(1, round(letter.left_s / 60)))
            outgoing.append(OutgoingLetter(letter.id, letter.recipient, text.subject, text.text))
        asked = self._sender.ask(SendLetters(outgoing, self._send_s), timeout=3 * self._send_s)
        self.pipe_to_self(asked, lambda done: _Sent(done, taken.letters))

    @handles(_Sent, local=True)
    def sent(self, message: _Sent) -> None:
        """Note what became of them."""
        letters = message.letters
        if message.done.exception() is None:
            outcomes: list[LetterOutcome] = message.done.result()
        else:
            outcomes = [LetterOutcome("the sender failed")] * len(letters)
        done, again = [], []
        for letter, outcome in zip(letters, outcomes, strict=True):
            if not outcome.problem or outcome.final:
                self._counts["refused" if outcome.problem else "sent"] += 1
                done.append(letter.id)
            else:
                self._counts["failed"] += 1
                again.append(
                    (letter.id, self._pauses.delay_s(letter.tries + 1, self.system.random))
                )
            if outcome.problem:
                log.warning(
                    "mail not sent", id=letter.id, letter=letter.letter, tries=letter.tries,
                    problem=outcome.problem, final=outcome.final,
                )  # fmt: skip
        noted = self._facts.execute(LettersSettled(done, again), user=POSTMAN)
        self.pipe_to_self(noted, lambda done: _Noted(done, len(letters) == BATCH))

    @handles(_Noted, local=True)
    def noted(self, message: _Noted) -> None:
        """End the round; begin the next one at once if there may be more letters."""
        self._busy = False
        if message.more:
            self.start_timer(0.0, LookForMail(), name="look")
