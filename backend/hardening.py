"""What lies around every answer: what a browser may do with it, pages of other origins, and whose word counts.

The direct way lies inside as well, and so do errors.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from backend.config import Settings
from backend.handlers import problem
from backend.scope import Seen

Raw = list[tuple[bytes, bytes]]

# An answer of an API is no page: nothing runs in it, frames it, guesses its type, or loads it as an image or a
# script. Requests with CORS are not touched by the resource policy, which is about those without.
ALWAYS: Final[Raw] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
NOT_KEPT: Final[Raw] = [(b"cache-control", b"no-store")]
ONLY_HTTPS: Final[Raw] = [(b"strict-transport-security", b"max-age=31536000; includeSubDomains")]
_NAMES: Final = frozenset(name for name, _ in ALWAYS + NOT_KEPT + ONLY_HTTPS)

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
SENT: Final = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Tend-Change"]
EXPOSED: Final = [
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
    "Tend-Change",
    "Idempotency-Replayed",
    "X-Request-ID",
]
PREFLIGHT_SECONDS: Final = 600


class SecurityHeaders:
    """Adds what an answer does not say itself.

    Whatever is inside may add headers of its own to the answer, errors included:
    `scope["tend.headers"].append((b"name", b"value"))`, the name in lower case. The list is one for all copies of
    the scope, and HEAD is answered with a copy. `scope["tend.seen"]` becomes `Tend-Change`: how far the user's changes
    have come, for a next request to name (`Scope.nearby`).

    Strict-Transport-Security stands on what came by https (RFC 6797, section 7.2), and on everything in production:
    there a proxy takes https, and may not say so. Over plain http a browser ignores it (section 8.1).
    """

    def __init__(self, app: ASGIApp, *, production: bool) -> None:
        self.app = app
        self.production = production
        self.added = {
            (secure, private): ALWAYS + ONLY_HTTPS * secure + NOT_KEPT * private
            for secure in (False, True)
            for private in (False, True)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        added = self.added[self.production or scope["scheme"] == "https", scope["path"].startswith("/v1/")]
        scope["tend.headers"] = []
        seen = scope["tend.seen"] = Seen()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                named = {name for name, _ in own}
                missing = added if named.isdisjoint(_NAMES) else [each for each in added if each[0] not in named]
                message["headers"] = [*own, *missing, *scope["tend.headers"]]
                if seen.number:
                    message["headers"].append((b"tend-change", b"%d" % seen.number))
            await send(message)

        await self.app(scope, receive, answer)


class CrossOrigin(CORSMiddleware):
    """Refuses a preflight in the shape of all errors."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code == 200 else _Refused(headers={"Vary": answer.headers["Vary"]})


class _Refused(Response):
    """Knows the path when it is sent, and not before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = "A web page from there may not ask this: the origin, the method or a header is not allowed."
        answer = problem(scope, 400, detail, headers={"Vary": self.headers["Vary"]})
        await answer(scope, receive, send)


def install(app: FastAPI, settings: Settings) -> None:
    """From the inside out. To be called when everything else is added: what comes later lies outside."""
    if settings.cors_origins:
        app.add_middleware(
            CrossOrigin,
            allow_origins=frozenset(settings.cors_origins),
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )
    app.add_middleware(SecurityHeaders, production=settings.environment == "production")
    if settings.trusted_proxies:
        trusted = [each for network in settings.trusted_proxies for each in _both_ways(network)]
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)


def _both_ways(network: str) -> Iterable[str]:
    """A socket for IPv6 takes IPv4 too, and calls 10.0.0.1 `::ffff:10.0.0.1` (RFC 4291, section 2.5.5.2)."""
    yield network
    if ":" not in network:
        address, _, bits = network.partition("/")
        yield f"::ffff:{address}/{96 + int(bits)}"


def page(html: HTMLResponse) -> HTMLResponse:
    """With leave for what Swagger UI does: its own files, its inline scripts by their hash, requests to this API."""
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(html.body), re.DOTALL)
    hashes = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)
    html.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html
