"""Sends messages by mail, after the request that asked for them was answered.

So an answer takes as long whether a mail is sent or not, and does not tell whether there is an account.
What waits is in this process's memory: a kill loses it, and the person asks again.
"""

import asyncio
import logging
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from functools import cache
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from email_validator import validate_email

from backend.config import Settings
from backend.config.values import mailbox, smtp_server
from backend.errors import NotOffered, Unavailable
from backend.rules.messages import Message

if TYPE_CHECKING:  # this and aiosmtplib are imported with the first message, in a thread: a start needs neither
    from email.headerregistry import Address

    from jinja2 import Environment

log = logging.getLogger("tend.mail")


class Mailer:
    """Times are in seconds."""

    MOST_WAITING: ClassVar[int] = 100
    CONNECTIONS: ClassVar[int] = 4
    WAITS: ClassVar[tuple[float, ...]] = (1, 5)  # before the second try, and before the third
    TIMEOUT: ClassVar[float] = 15  # for a connection, and for each answer of the server
    SETTLE: ClassVar[float] = 10

    def __init__(self, settings: Settings) -> None:
        self._server = smtp_server(settings.smtp_url.get_secret_value()) if settings.smtp_url else None
        self._sender = mailbox(settings.mail_from) if settings.mail_from else ("", "")
        self._app_url = settings.app_url
        self._logged = settings.environment == "development"
        self._under_way: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(self.CONNECTIONS)

    @property
    def offered(self) -> bool:
        return self._server is not None or self._logged

    @property
    def waiting(self) -> int:
        return len(self._under_way)

    def send(self, message: Message) -> None:
        """Returns at once. Whether it arrives nobody is told; the log says when it does not.

        Raises NotOffered, and Unavailable while `MOST_WAITING` others are not sent yet.
        """
        if not self.offered:
            raise NotOffered("This server sends no mail: its operator has not set SMTP_URL.")
        if len(self._under_way) >= self.MOST_WAITING:
            raise Unavailable("Too much mail is waiting to be sent. Try again.", retry_after=10)
        task = asyncio.get_running_loop().create_task(self._deliver(message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def settled(self) -> None:
        """When all that is under way was sent or given up: after `SETTLE` at the latest, when it is lost."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=self.SETTLE)
        if not late:
            return
        log.error("%d messages were not sent: there is no more time.", len(late))
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=1)  # each takes leave of its server, which may not answer

    async def _deliver(self, message: Message) -> None:
        """Every failure ends here, in the log, which holds nothing of what the message says."""
        try:
            if self._server:
                await self._send(message)
            else:
                text, _ = await asyncio.to_thread(_parts, message, self._app_url)
                shown = f"To: {message.to}\nSubject: {message.subject}\n\n{text}"
                log.info("This is not sent, since SMTP_URL is not set.\n%s", shown)
        except Exception as error:
            log.error("%r was not sent to %s: %s", message.subject, message.to, _said(error))

    async def _send(self, message: Message) -> None:
        # Made once: who gets it twice, since an answer was lost, gets it with the same Message-ID.
        mail, recipient = await asyncio.to_thread(self._mail, message)
        for wait in (*self.WAITS, None):
            try:
                async with self._places:
                    await self._hand_over(mail, recipient)
            except Exception as error:
                if wait is None or not _is_temporary(error):
                    raise
                await asyncio.sleep(wait)
            else:
                return

    async def _hand_over(self, mail: EmailMessage, recipient: str) -> None:
        from aiosmtplib import send

        assert self._server
        await send(
            mail,
            sender=self._sender[1],
            recipients=[recipient],
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.user,
            password=self._server.password,
            use_tls=self._server.security == "tls",
            start_tls=self._server.security == "starttls",
            timeout=self.TIMEOUT,
        )

    def _mail(self, message: Message) -> tuple[EmailMessage, str]:
        """The mail, and the address of its envelope."""
        import aiosmtplib  # noqa: F401 - in this thread, so that nobody waits for it

        text, html = _parts(message, self._app_url)
        to = validate_email(message.to, check_deliverability=False, test_environment=True)
        recipient = to.ascii_email or to.normalized  # with an ASCII domain if that is all it takes (RFC 6531)
        name, sender = self._sender
        mail = EmailMessage()
        mail["From"] = _address(name, sender)
        mail["To"] = _address(message.shown_name, recipient)
        mail["Subject"] = message.subject
        mail["Date"] = datetime.now(UTC)
        mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
        mail.set_content(text)
        mail.add_alternative(html, subtype="html")
        return mail, recipient


def _parts(message: Message, app_url: str | None) -> tuple[str, str]:
    """The text and the HTML. The token is in the fragment, which reaches no server's log and no Referer."""
    link = message.link
    words = {
        "subject": message.subject,
        "greeting": f"Hello {message.shown_name}," if message.shown_name else "Hello,",
        "paragraphs": message.paragraphs,
        "link": link,
        "url": f"{app_url}/{link.path}#token={quote(link.token)}" if link and app_url else None,
        "closing": message.closing,
    }
    templates = _templates()
    return templates.get_template("message.txt").render(words), templates.get_template("message.html").render(words)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("backend"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def _address(name: str, address: str) -> "Address":
    from email.headerregistry import Address

    user, _, domain = address.rpartition("@")
    return Address(name, user, domain)


def _cause(error: Exception) -> Exception:
    """The refusal of the one recipient, which comes in a list."""
    from aiosmtplib import SMTPRecipientsRefused

    return error.recipients[0] if isinstance(error, SMTPRecipientsRefused) else error


def _is_temporary(error: Exception) -> bool:
    """RFC 5321, section 4.2.1: 4yz may be tried again, 5yz not. A server that cannot be reached may come back."""
    from aiosmtplib import SMTPResponseException

    cause = _cause(error)
    if isinstance(cause, SMTPResponseException):
        return 400 <= cause.code < 500
    return isinstance(cause, OSError)


def _said(error: Exception) -> str:
    """Why, without what a server says of the content: it may quote it, and the token with it."""
    from aiosmtplib import SMTPDataError

    cause = _cause(error)
    if isinstance(cause, SMTPDataError):
        return f"the server refused its content with {cause.code}"
    return f"{type(cause).__name__}: {cause}"
