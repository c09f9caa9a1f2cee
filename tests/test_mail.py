"""Mail, sent to a real smtp."""

import asyncio
import logging
import re
import socket
import ssl
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flit_core import buildapi
from starlette.requests import Request

from backend import handlers
from backend.errors import NotOffered, Unavailable
from backend.mail import Mailer
from backend.main import create_app
from backend.rules import messages
from backend.rules.messages import Message
from tests.conftest import settings_for
from tests.mail_server import HOST, LOST, MailServer, certificate, running
from tests.served import serving
from tests.servers import ROOT

TOKEN = "kq3Vn8mJ0cQmZ7hYp1rT5xWb9sDf2gLk4uEoAiRyNtM"
VERIFY = messages.verify_email("ada@example.com", "Ada", TOKEN, 60)
WHEN = datetime(2026, 11, 2, 8, 5, tzinfo=ZoneInfo("Europe/Berlin"))
ALL = [
    VERIFY,
    messages.reset_password("ada@example.com", "Ada", TOKEN, 30),
    messages.password_changed("ada@example.com", "Ada", WHEN, "203.0.113.5"),
    messages.email_changed("ada@example.com", "Ada", "<new>@example.com"),
    messages.second_factor_changed("ada@example.com", "Ada", True),
    messages.second_factor_changed("ada@example.com", "Ada", False),
    messages.account_ending("ada@example.com", "Ada", WHEN),
    messages.account_kept("ada@example.com", "Ada"),
]

Made = Callable[..., Mailer]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mailer, "WAITS", (0, 0))


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with running() as smtp:
        yield smtp


@pytest.fixture
def mailer(tmp_path: Path) -> Made:
    def made(url: str | None = None, **others: Any) -> Mailer:
        sender = {"smtp_url": url, "mail_from": "Tänd, the tasks <tend@example.com>"} if url else {}
        return Mailer(settings_for("postgresql://nowhere/db", tmp_path, **sender, **others))

    return made


@pytest.fixture
async def silent() -> AsyncIterator[list[int]]:
    """A server that says nothing: its port, and then a number for each connection."""
    seen: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(writers))
        writers.append(writer)

    listening = await asyncio.start_server(connected, HOST, 0)
    seen.append(listening.sockets[0].getsockname()[1])
    async with listening:
        yield seen
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def address_of(smtp: MailServer) -> str:
    return f"smtp://{HOST}:{smtp.port}"


async def sent(mailer: Mailer, *many: Message) -> None:
    for message in many or (VERIFY,):
        mailer.send(message)
    await mailer.settled()


async def said(mailer: Mailer, smtp: MailServer, message: Message) -> tuple[str, str]:
    """What arrived of it, as text and as HTML."""
    await sent(mailer, message)
    text, html = smtp.mails[-1].get_body(["plain"]), smtp.mails[-1].get_body(["html"])
    assert text is not None
    assert html is not None
    return (*(part.get_content().replace("\r\n", "\n") for part in (text, html)),)


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.subject)
async def test_a_message_says_the_same_as_text_and_as_html(mailer: Made, smtp: MailServer, message: Message) -> None:
    text, html = await said(mailer(address_of(smtp)), smtp, message)

    shown = re.sub(r"<style>.*?</style>|<title>.*?</title>|<[^>]+>", "", html, flags=re.DOTALL)
    shown = shown.replace("&lt;", "<").replace("&gt;", ">")
    assert shown.split() == text.split()
    assert "Hello Ada," in text
    assert all(" ".join(text.split()).count(words) == 1 for words in (*message.paragraphs, *message.closing))
    assert max(len(line) for line in text.splitlines()) < 78


async def test_a_message_is_mail_as_the_standards_want_it(mailer: Made, smtp: MailServer) -> None:
    message = messages.account_kept("ada@example.com", 'Zoë "the" Ä, B')
    await sent(mailer(address_of(smtp)), message)

    (arrived,), (envelope,) = smtp.mails, smtp.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("tend@example.com", ["ada@example.com"])
    assert arrived["From"].addresses[0].display_name == "Tänd, the tasks"
    assert arrived["To"].addresses[0].display_name == 'Zoë "the" Ä, B'
    assert arrived["Subject"] == "Your account will be kept"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<\S+@example\.com>", arrived["Message-ID"])
    assert abs(arrived["Date"].datetime - datetime.now(UTC)).days == 0
    assert arrived.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in arrived.iter_parts()] == ["text/plain", "text/html"]
    assert not arrived.defects


async def test_a_link_leads_to_the_front_end_with_the_token_in_its_fragment(mailer: Made, smtp: MailServer) -> None:
    mine = mailer(address_of(smtp), app_url="https://app.example.com/")
    for message, path in ((VERIFY, "verify-email"), (ALL[1], "reset-password")):
        text, html = await said(mine, smtp, message)

        url = f"https://app.example.com/{path}#token={TOKEN}"
        assert f"\n{url}\n" in text
        assert f'<a href="{url}"' in html
        assert text.count(TOKEN) == 1


async def test_without_a_front_end_the_token_itself_comes_with_what_to_do_with_it(
    mailer: Made, smtp: MailServer
) -> None:
    for message, route in ((VERIFY, "/v1/auth/verify-email/confirm"), (ALL[1], "/v1/auth/password-reset/confirm")):
        text, html = await said(mailer(address_of(smtp)), smtp, message)

        assert f"POST {route}:\n\n{TOKEN}\n" in text
        assert f"<code>POST {route}</code>" in html
        assert TOKEN in html
        assert "<a " not in html


async def test_a_name_is_text_and_nothing_else(mailer: Made, smtp: MailServer) -> None:
    text, html = await said(mailer(address_of(smtp)), smtp, messages.account_kept("a@b.co", "<script> & co"))

    assert "Hello <script> & co," in text
    assert "Hello &lt;script&gt; &amp; co," in html
    assert "<script>" not in html


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada\r\nBcc: eve", ""),
        ("Ada\r\nX", "Ada X"),
        ("Ada\u2028\x85\x0b Lovelace\x00\u202e\ud800", "Ada Lovelace"),
        ("J. R. R. Tolkien", "J. R. R. Tolkien"),
        ("می‌خواهم 👩‍🚀", "می‌خواهم 👩‍🚀"),
        *((bait, "") for bait in ("Win at evil.example", "https://evil", "evil.co/win", "eve@evil", "\0")),
    ],
)
async def test_a_name_stays_on_its_line_and_is_no_bait(mailer: Made, smtp: MailServer, name: str, shown: str) -> None:
    text, _ = await said(mailer(address_of(smtp)), smtp, messages.account_kept("ada@example.com", name))

    assert text.splitlines()[0] == (f"Hello {shown}," if shown else "Hello,")
    assert smtp.mails[0]["To"].addresses[0].display_name == shown
    assert smtp.mails[0]["Bcc"] is None
    assert smtp.mails[0].keys() == [
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type")
    ]


@pytest.mark.parametrize(
    ("address", "recipient", "in_utf8"),
    [
        ("ada@münchen.de", "ada@xn--mnchen-3ya.de", False),
        ("josé@münchen.de", "josé@münchen.de", True),
    ],
)
async def test_an_address_in_any_script_is_reached(
    mailer: Made, smtp: MailServer, address: str, recipient: str, in_utf8: bool
) -> None:
    await sent(mailer(address_of(smtp)), messages.account_kept(address, "José"))

    (envelope,) = smtp.envelopes
    assert (envelope.rcpt_tos, envelope.smtp_utf8) == ([recipient], in_utf8)
    assert isinstance(envelope.content, bytes)
    assert f"José <{recipient}>".encode() in envelope.content or not in_utf8


@pytest.mark.parametrize(
    ("minutes", "span"), [(1, "1 minute"), (90, "90 minutes"), (60, "1 hour"), (2880, "2 days"), (1440, "1 day")]
)
def test_how_long_it_holds_is_said_in_round_numbers(minutes: int, span: str) -> None:
    assert f"for {span}." in messages.verify_email("a@b.co", "Ada", TOKEN, minutes).closing[0]


def test_a_moment_is_said_in_its_own_time_zone() -> None:
    assert "on 2 November 2026 at 08:05 CET, from 203.0.113.5." in ALL[2].paragraphs[0]
    assert "08:05 CET." in messages.password_changed("a@b.co", "Ada", WHEN, None).paragraphs[0]


@pytest.mark.parametrize("refusal", ["421 Closing", "451 Greylisted, come back", "452 Full"])
async def test_what_is_refused_for_now_is_tried_again(mailer: Made, smtp: MailServer, refusal: str) -> None:
    smtp.answers, smtp.verdicts = [refusal], [refusal]
    await sent(mailer(address_of(smtp)))

    assert len(smtp.envelopes) == 1
    assert smtp.tried == 3


async def test_after_three_tries_it_is_given_up_with_a_word_in_the_log(
    mailer: Made, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.answers = ["450 Busy"] * 4
    await sent(mailer(address_of(smtp)))

    assert (smtp.tried, smtp.envelopes) == (3, [])
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "'Confirm your address' was not sent to ada@example.com" in record.message
    assert "450" in record.message


@pytest.mark.parametrize("where", ["answers", "verdicts"])
async def test_what_is_refused_for_good_is_tried_once_and_the_log_keeps_the_token_out(
    mailer: Made, smtp: MailServer, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    quoted = f"550 Spam: {TOKEN}" if where == "verdicts" else "550 No such user"
    setattr(smtp, where, [quoted])
    await sent(mailer(address_of(smtp)))

    assert (smtp.tried, smtp.envelopes) == (1, [])
    assert "550" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_try_again_is_the_same_message(mailer: Made, smtp: MailServer) -> None:
    smtp.verdicts = [LOST]
    await sent(mailer(address_of(smtp)))

    assert len(smtp.mails) == 2
    assert len({(arrived["Message-ID"], arrived["Date"]) for arrived in smtp.mails}) == 1


async def test_a_server_that_is_away_is_tried_again_and_then_logged(
    mailer: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and does not listen
        await sent(mailer(f"smtp://{HOST}:{taken.getsockname()[1]}"))

    assert "SMTPConnectError" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_server_that_hangs_is_left(
    mailer: Made, silent: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Mailer, "TIMEOUT", 0.05)
    await sent(mailer(f"smtp://{HOST}:{silent[0]}"))

    assert len(silent) == 1 + 3
    assert "SMTPConnectTimeoutError" in caplog.text


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_credentials_go_over_tls_to_a_server_that_is_who_it_says(
    mailer: Made, trusted: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    file, context = trusted
    tls: dict[str, Any] = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
    with running(**tls, auth_require_tls=scheme == "smtp") as smtp:
        url = f"{scheme}://tend%40example.com:p%40ss%2Fw%3Ard@{HOST}:{smtp.port}"
        await sent(mailer(url))
        assert (smtp.logins, smtp.envelopes) == ([], [])  # nobody vouches for the certificate

        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        await sent(mailer(url))
        assert smtp.logins == [(b"tend@example.com", b"p@ss/w:rd")]
        assert smtp.encrypted == [True] or scheme == "smtps"
        assert len(smtp.envelopes) == 1

        await sent(mailer(url.replace("p%40ss", "hunter2")))
        assert len(smtp.envelopes) == 1


async def test_a_wrong_password_is_no_reason_to_try_again_and_not_logged(
    mailer: Made,
    trusted: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted[0]))
    with running(tls_context=trusted[1], auth_exclude_mechanism=["LOGIN"]) as smtp:
        await sent(mailer(f"smtp://tend:hunter2@{HOST}:{smtp.port}"))

    assert smtp.logins == [(b"tend", b"hunter2")]
    assert "SMTPAuthenticationError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_server_without_tls_gets_neither_password_nor_message(
    mailer: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with running(auth_require_tls=False) as smtp:
        await sent(mailer(f"smtp://tend:p%40ss%2Fw%3Ard@{HOST}:{smtp.port}"))

    assert (smtp.logins, smtp.envelopes) == ([], [])
    assert "STARTTLS extension not supported" in caplog.text


async def test_four_are_sent_at_a_time_and_only_so_many_may_wait(
    mailer: Made, smtp: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mailer, "MOST_WAITING", 10)
    smtp.gate.clear()
    mine = mailer(address_of(smtp))
    for _ in range(10):
        mine.send(VERIFY)
    with pytest.raises(Unavailable):
        mine.send(VERIFY)
    for _ in range(4):
        assert await asyncio.to_thread(smtp.arrived.acquire, timeout=20)
    await asyncio.sleep(0.3)  # for a fifth, if one may come
    smtp.gate.set()
    await mine.settled()

    assert (smtp.most_open, len(smtp.envelopes)) == (4, 10)
    await sent(mine)  # there is room again
    assert len(smtp.envelopes) == 11


async def test_the_end_waits_for_what_is_under_way(database_url: str, tmp_path: Path, smtp: MailServer) -> None:
    app = create_app(settings_for(database_url, tmp_path, smtp_url=address_of(smtp), mail_from="tend@example.com"))
    async with app.router.lifespan_context(app):
        app.state.tend.mailer.send(VERIFY)

    assert len(smtp.envelopes) == 1


async def test_the_end_does_not_wait_for_ever_and_says_what_is_lost(
    mailer: Made, silent: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Mailer, "SETTLE", 0.1)
    mine = mailer(f"smtp://{HOST}:{silent[0]}")
    await sent(mine, VERIFY, ALL[1])

    assert "2 messages were not sent" in caplog.text
    assert not mine._under_way


async def test_production_without_a_mail_server_refuses(mailer: Made, smtp: MailServer) -> None:
    without = mailer(environment="production")

    assert not without.offered
    with pytest.raises(NotOffered) as refused:
        without.send(VERIFY)
    request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []})
    assert (await handlers.answer_to(request, refused.value)).status_code == 501
    assert mailer(address_of(smtp), environment="production").offered


async def test_development_without_a_mail_server_logs_the_message(
    mailer: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tend.mail")
    assert mailer().offered
    await sent(mailer())

    (record,) = caplog.records
    assert "To: ada@example.com\nSubject: Confirm your address\n\nHello Ada," in record.message
    assert TOKEN in record.message


SERVE_AND_SEND = f"""
import sys
from backend import cli, main
from backend.rules import messages
made = main.create_app
def create_app():
    app = made()
    app.state.tend.mailer.send(messages.verify_email("ada@example.com", "Ada", "{TOKEN}", 60))
    return app
main.create_app = create_app
sys.argv = ["tend", "serve"]
cli.main()
"""


def test_what_development_logs_is_seen_where_it_is_served(tmp_path: Path, database_url: str) -> None:
    command = [sys.executable, "-c", SERVE_AND_SEND]
    with serving(tmp_path / "data", command=command, DATABASE_URL=database_url) as served:
        assert served.stop() == 0

    assert served.printed.count(TOKEN) == 1
    assert "[info     ] This is not sent" in served.printed


def test_the_templates_are_installed_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wheel = tmp_path / buildapi.build_wheel(str(tmp_path))  # type: ignore[no-untyped-call]

    assert {"backend/templates/message.txt", "backend/templates/message.html"} <= {*zipfile.ZipFile(wheel).namelist()}
