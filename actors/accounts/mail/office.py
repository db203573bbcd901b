"""Starts what sends mail on a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from actors.accounts.mail.postman import POSTMAN, LookForMail, Postman
from actors.accounts.mail.sender import MailSender
from actors.accounts.mail.settings import MailSettings
from actors.runtime.child import ChildSpec
from actors.service import Frame
from protocol.http.metrics import Reading, counter

MAIL: Final = "mail"
"""The section of the configuration, and the key of the supervisor."""


class MailOffice:
    """The postman and the sender of a node.

    Arguments:
        frame: what the node lends.
    """

    def __init__(self, frame: Frame) -> None:
        settings = frame.settings.section(MAIL, MailSettings)
        if settings.ca_file:
            found = str(frame.folder / settings.ca_file)
            settings = msgspec.structs.replace(settings, ca_file=found)
        self.settings = settings
        self._counts: Counter[str] = Counter(sent=0, refused=0, failed=0, expired=0)
        self._system = frame.system
        sender = partial(MailSender, self.settings)
        postman = partial(
            Postman, frame.facts, frame.system.ref(MAIL, "sender"), self.settings, self._counts
        )
        frame.system.supervise(
            [
                ChildSpec(id="sender", factory=sender, shutdown_s=0.5),
                ChildSpec(id=POSTMAN, factory=postman),
            ],
            key=MAIL,
        )

    def knock(self) -> None:
        """Have the postman look at once, since a letter was queued."""
        self._system.ref(MAIL, POSTMAN).tell(LookForMail())

    def readings(self) -> Iterator[Reading]:
        """Yield the metrics of mail."""
        for what, count in self._counts.items():
            yield counter("accounts_mails", "Attempts to send mail.", count, what=what)
