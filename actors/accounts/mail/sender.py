"""`MailSender`: a thread that hands letters to the mail server, or writes them to the log."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import time
from email.message import EmailMessage
from email.utils import formatdate

import msgspec
import structlog

from actors.accounts.mail.settings import MailSettings, smtp_address
from actors.runtime.thread_cell import ThreadingActor

log = structlog.get_logger("actors.accounts.mail")


class OutgoingLetter(msgspec.Struct, frozen=True):
    """A letter as it goes out."""

    id: str
    recipient: str
    subject: str
    text: str


class SendLetters(msgspec.Struct, frozen=True):
    """Asks to send letters, for at most `for_s` seconds.

    Answer: a `LetterOutcome` for each, in order.
    """

    letters: list[OutgoingLetter]
    for_s: float


class LetterOutcome(msgspec.Struct, frozen=True):
    """What became of a letter: `problem` is empty if it was sent; `final`: do not try again."""

    problem: str = ""
    final: bool = False


class MailSender(ThreadingActor):
    """Sends letters over one connection for each request.

    A refusal of the mail server (5xx) of one letter is final. Everything else is tried again.
    """

    def __init__(self, settings: MailSettings) -> None:
        super().__init__()
        self._settings = settings

    def on_receive(self, message: SendLetters) -> list[LetterOutcome]:
        """Send letters."""
        if not self._settings.url:
            return [self._logged(letter) for letter in message.letters]
        until = time.monotonic() + message.for_s
        found: list[LetterOutcome] = []
        try:
            with self._connected() as server:
                for letter in message.letters:
                    if time.monotonic() > until:
                        break
                    found.append(self._sent(server, letter))
        except (OSError, smtplib.SMTPException) as error:  # the server is away, or hangs up
            problem = _named(error)
        else:
            problem = "no time was left"
        return found + [LetterOutcome(problem)] * (len(message.letters) - len(found))

    def _connected(self) -> smtplib.SMTP:
        address, timeout_s = smtp_address(self._settings.url), self._settings.timeout_s
        context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        server: smtplib.SMTP
        if address.scheme == "smtps":
            server = smtplib.SMTP_SSL(
                address.host, address.port, timeout=timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(address.host, address.port, timeout=timeout_s)
        try:
            if address.scheme == "smtp+starttls":
                server.starttls(context=context)  # raises if the server has none
            if address.user:
                server.login(address.user, address.password)
        except BaseException:
            with contextlib.suppress(OSError):
                server.close()
            raise
        return server

    def _sent(self, server: smtplib.SMTP, letter: OutgoingLetter) -> LetterOutcome:
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = letter.recipient
        message["Subject"] = letter.subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{letter.id}@{self._settings.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers it by a machine
        message.set_content(letter.text)
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            code = next(iter(refused.recipients.values()))[0]
            return LetterOutcome(f"refused: {code}", final=code >= 500)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as refused:
            return LetterOutcome(_named(refused), final=refused.smtp_code >= 500)
        return LetterOutcome()

    def _logged(self, letter: OutgoingLetter) -> LetterOutcome:
        log.info(
            "mail is not sent, since mail.url is empty", id=letter.id, recipient=letter.recipient,
            subject=letter.subject, text=letter.text,
        )  # fmt: skip
        return LetterOutcome()


def _named(error: Exception) -> str:
    """Return an error for the log, without what the server says, which may quote the letter."""
    code = getattr(error, "smtp_code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__}: {code}"
