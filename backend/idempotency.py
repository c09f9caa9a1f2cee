"""`Idempotency-Key`: a request that may be sent again, and is done once (draft-ietf-httpapi-idempotency-key-header-07).

Around the direct way and FastAPI, so that every route that writes has it without being told. What cannot have it
refuses the header, and says why: nobody relies on it in vain.
"""

import hashlib
import re
from dataclasses import replace
from typing import Any, Final

from fastapi.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from backend import handlers
from backend.deps import holder_of, take_allowance
from backend.direct import again
from backend.errors import Invalid
from backend.scope import Scope
from backend.services import idempotency
from backend.services.idempotency import HEADER, Answer
from backend.telemetry import exchange
from backend.telemetry.routes import UNKNOWN, Templates

METHODS: Final = ("PATCH", "POST")
"""What is not idempotent by itself, as GET, PUT and DELETE are (RFC 9110, section 9.2.2)."""
MOST_CHARACTERS: Final = 255
PATTERN: Final = r'^"([ !#-\[\]-~]|\\["\\])+"$'
"""A String (RFC 8941, section 3.3.3), and no parameters. As JSON Schema and Python read it alike."""
EXAMPLE: Final = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
REPLAYED: Final = "Idempotency-Replayed"

_STRANGER = "nobody is signed in yet"
_SECRET = "the answer holds a secret, which is kept nowhere"
REFUSED: Final = {
    "/v1/auth/register": _STRANGER,
    "/v1/auth/token": _STRANGER,
    "/v1/auth/second-factor": _STRANGER,
    "/v1/auth/refresh": _STRANGER,
    "/v1/auth/outside/{provider}": _STRANGER,
    "/v1/auth/outside/{provider}/finish": _STRANGER,
    "/v1/auth/verify-email": _STRANGER,
    "/v1/auth/verify-email/confirm": _STRANGER,
    "/v1/auth/password-reset": _STRANGER,
    "/v1/auth/password-reset/confirm": _STRANGER,
    "/v1/auth/logout": "the sign-in that would ask again has ended",
    "/v1/sync": "its operations have numbers, by which each is done once",
    "/v1/me": "another language is more than one transaction",
    "/v1/me/email": "a mail goes out, whatever becomes of the transaction",
    "/v1/me/identities": "the provider is asked, and takes its code once",
    "/v1/me/password": "no transaction waits for the hash of a password",
    "/v1/me/second-factor": _SECRET,
    "/v1/me/second-factor/confirm": _SECRET,
    "/v1/me/second-factor/recovery-codes": _SECRET,
    "/v1/me/tokens": _SECRET,
    "/v1/webhooks": _SECRET,
    "/v1/webhooks/{webhook_id}": "the sign-in must be a fresh one each time",
    "/v1/webhooks/{webhook_id}/secret": _SECRET,
}
"""Routes that do not take it, and why. So does each that asks for a fresh sign-in: an answer that is told again is
told to whoever may do as much, however long ago they signed in."""


class Idempotency:
    """Middleware. A body is read to at most `body_bytes`: no route takes more."""

    def __init__(self, app: ASGIApp, templates: Templates, body_bytes: int) -> None:
        self.app = app
        self.templates = templates
        self.body_bytes = body_bytes

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in METHODS or not _has_key(scope):
            await self.app(scope, receive, send)
            return
        template = self.templates.of(scope["path"])
        if template == UNKNOWN:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            key = _key_of(request, template)
        except Invalid as error:
            # A 405 comes before anything that is wrong with the key.
            there = request.method in handlers.allowed(request)
            refusal = await handlers.answer_to(request, error) if there else self.app
            await refusal(scope, receive, send)
            return
        try:
            answer = await self._once(request, key)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = await handlers.answer_to(request, error)
        await answer(scope, receive, send)

    async def _once(self, request: Request, key: str) -> Response:
        mine = replace(await holder_of(request), seen=request.scope["tend.seen"])
        await take_allowance(request, mine)
        body = await self._body(request)

        async def work(inner: Scope) -> Answer:
            exchange.failed(None)
            return await self._answered({**request.scope, "tend.holder": inner}, again(body, request.receive))

        answer, replayed = await idempotency.once(mine, key, _digest(request, mine, body), work)
        response = Response(answer.body, answer.status)
        response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if replayed:
            response.headers[REPLAYED] = "true"
        return response

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self.body_bytes:
                raise HTTPException(413)
        return bytes(body)

    async def _answered(self, scope: Asgi, receive: Receive) -> Answer:
        begun: Message = {}
        body = bytearray()

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))

        try:
            await self.app(scope, receive, hold)
        except Exception:
            if not begun:  # else Starlette raises again what was answered, and logged, already
                raise
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in begun["headers"]]
        return Answer(begun["status"], headers, bytes(body))


def _has_key(scope: Asgi) -> bool:
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


def _key_of(request: Request, template: str) -> str:
    """As it stands between the quotes: a string of RFC 8941 is written in one way only. Raises Invalid."""
    written = [line.strip(" ") for line in request.headers.getlist(HEADER)]
    if len(written) > 1:
        raise Invalid.at("header", HEADER, msg="given twice")
    if not re.fullmatch(PATTERN, written[0]) or len(written[0]) > MOST_CHARACTERS + 2:
        wanted = f"1 to {MOST_CHARACTERS} characters of ASCII in quotes, like {EXAMPLE}"
        raise Invalid.at("header", HEADER, msg=f"expected {wanted}")
    if template in REFUSED:
        raise Invalid.at("header", HEADER, msg=f"not taken here: {REFUSED[template]}")
    return written[0][1:-1]


def _digest(request: Request, mine: Scope, body: bytes) -> bytes:
    """Of all that the answer depends on. What the token may do is part of it, so that a lesser one learns nothing."""
    asked: Any = request.scope
    may = " ".join(sorted(mine.scopes)), "program" if mine.session_id is None else "person"
    named = (",".join(request.headers.getlist(name)) for name in ("content-type", "if-match"))
    parts = [asked["method"], asked["path"], *may, *named]
    digests = [hashlib.sha256(part.encode()).digest() for part in parts]
    digests += [hashlib.sha256(part).digest() for part in (asked["query_string"], body)]
    return hashlib.sha256(b"".join(digests)).digest()
