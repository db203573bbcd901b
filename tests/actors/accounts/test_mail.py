"""Letters: written with what they tell of, sent by any node, tried until they are taken."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from actors.accounts.mail.letters import LETTERS, filled_in, new_code, plain_code
from actors.accounts.mail.sender import MailSender, OutgoingLetter, SendLetters
from actors.accounts.mail.settings import MailSettings, smtp_address
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from protocol.http.metrics import Reading
from tests.actors.accounts.mailboxes import WITHIN_S, Mailboxes, mail_server, text_of
from tests.actors.accounts.test_passwords import CHEAP, SECRET, ask
from tests.actors.apis import HostedApi, hosted

LETTER = OutgoingLetter("1a2b", "ada@example.com", "Hello", "The text.\n")


async def sign_up(api: HostedApi, email: str) -> None:
    body = {"email": email, "password": SECRET, "name": "Ada"}
    assert (await ask(api, "sign-up/password", **body)).status == 200


def rows_of(postgres: PostgresSettings, email: str) -> list[Any]:
    with connect(postgres) as connection, transaction(connection, postgres):
        return connection.execute(
            "SELECT tries, due_at > now() FROM account_mails WHERE recipient = %s", (email,)
        ).fetchall()


async def gone(postgres: PostgresSettings, email: str) -> None:
    with trio.fail_after(WITHIN_S):
        while rows_of(postgres, email):
            await trio.sleep(0.01)


async def test_a_letter_is_sent_even_if_the_server_dies_between_the_commit_and_the_mail(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    # As of a server that dies at once: the letter is committed, and nobody looks for it there.
    idle = ("mail.url=smtp://127.0.0.1:1", "mail.first_retry_s=1e6", "mail.longest_retry_s=1e6")
    async with hosted(postgres, redis, (*CHEAP, *idle)) as api:
        await sign_up(api, email)
    # And as of one that had taken it before it died: the lease is over after a while.
    with connect(postgres) as connection, transaction(connection, postgres):
        connection.execute(
            "UPDATE account_mails SET due_at = now(), tries = 1 WHERE recipient = %s", (email,)
        )
    with mail_server() as mailboxes:
        url = f"mail.url=smtp://127.0.0.1:{mailboxes.port}"
        async with hosted(postgres, redis, (*CHEAP, url)):
            await mailboxes.code(email)
            await gone(postgres, email)


async def test_a_mail_server_that_is_gone_is_tried_again_and_gets_one_letter_from_two_nodes(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        port = mailboxes.port
    url = f"mail.url=smtp://127.0.0.1:{port}"
    quick = (*CHEAP, url, "mail.first_retry_s=0.05", "mail.longest_retry_s=0.1")
    async with hosted(postgres, redis, quick) as api, hosted(postgres, redis, quick) as other:
        await sign_up(api, email)
        with trio.fail_after(WITHIN_S):
            while not (tried(api)["failed"] and tried(other)["failed"]):
                await trio.sleep(0.01)
        again = Mailboxes()
        again.refuse = ["451 come back later"]
        with mail_server(again, port=port):
            await again.code(email)
            await gone(postgres, email)
        assert not again.refuse
        assert len(again.of(email)) == 1


async def test_what_the_mail_server_refuses_for_good_is_not_tried_again(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        mailboxes.refuse = ["550 no such mailbox"]
        url = f"mail.url=smtp://127.0.0.1:{mailboxes.port}"
        async with hosted(postgres, redis, (*CHEAP, url)) as api:
            await sign_up(api, email)
            await gone(postgres, email)
            assert tried(api)["refused"] == 1
        assert not mailboxes.letters


async def test_a_letter_is_given_up_when_its_code_has_run_out(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    away = ("mail.url=smtp://127.0.0.1:1", "mail.first_retry_s=0.05", "passwords.code_valid_s=0.2")
    async with hosted(postgres, redis, (*CHEAP, *away)) as api:
        await sign_up(api, email)
        await gone(postgres, email)


def tried(api: HostedApi) -> dict[str, float]:
    name = "greenroom_accounts_mails_total"
    found = [one for one in api.services["accounts"].readings() if isinstance(one, Reading)]
    return {one.labels["what"]: one.value for one in found if one.name == name}


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls"])
def test_letters_go_over_tls_and_with_a_login_if_the_address_says_so(
    scheme: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    tls = scheme == "smtp+starttls"
    with mail_server(
        starttls=context if tls else None, login=(b"ada", b"p@ss") if tls else None
    ) as mailboxes:
        login = "ada:p%40ss@" if tls else ""
        url = f"{scheme}://{login}127.0.0.1:{mailboxes.port}"
        trusting = MailSettings(url=url, ca_file=str(tmp_path / "ca.pem"))
        (sent,) = MailSender(trusting).on_receive(SendLetters([LETTER], 10.0))
        assert not sent.problem
        (letter,) = mailboxes.letters
        assert letter["Message-ID"] == "<1a2b@localhost>"
        assert text_of(letter).strip() == "The text."
        if tls:
            (sent,) = MailSender(MailSettings(url=url)).on_receive(SendLetters([LETTER], 10.0))
            assert (sent.problem, sent.final) == ("SSLCertVerificationError", False)
            wrong = MailSettings(url=url.replace("p%40ss", "wrong"), ca_file=trusting.ca_file)
            (sent,) = MailSender(wrong).on_receive(SendLetters([LETTER], 10.0))
            assert (sent.problem, sent.final) == ("SMTPAuthenticationError: 535", False)


def test_a_server_without_starttls_gets_nothing_if_that_is_wanted() -> None:
    with mail_server() as mailboxes:
        url = f"smtp+starttls://127.0.0.1:{mailboxes.port}"
        (sent,) = MailSender(MailSettings(url=url)).on_receive(SendLetters([LETTER], 10.0))
        assert sent.problem == "SMTPNotSupportedError"
        assert not mailboxes.letters


def test_every_letter_can_be_written() -> None:
    for name in LETTERS:
        letter = filled_in(name, "Chess", "CODE", 10)
        assert "{" not in letter.subject + letter.text
        assert ("CODE" in letter.text) == ("{code}" in LETTERS[name].text)


def test_a_code_is_read_as_people_type_it() -> None:
    code = new_code()
    assert plain_code(f" {code.lower()} ") == plain_code(code) == code.replace("-", "")
    assert plain_code("oil0") == "0110"


@pytest.mark.parametrize("url", ["mail.example", "http://x", "smtp://", "smtp://x:port"])
def test_a_url_that_names_no_mail_server_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="smtp") as refused:
        smtp_address(url)
    assert url not in str(refused.value) or url == "smtp://"
