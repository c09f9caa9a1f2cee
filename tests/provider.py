"""An OpenID Connect provider of the tests' own, on a real socket: it is right unless a test wants it wrong.

`oidc-provider-mock`, which the tests use too, neither verifies PKCE nor ever signs a wrong token.
"""

import base64
import hashlib
import json
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote_plus, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

from backend.config import Settings
from backend.outside import Identity, Outside

Json = dict[str, Any]
BACK = "http://localhost:3000/signed-in"
APP = "com.example.app:/signed-in"
METADATA, JWKS, TOKEN, USERINFO = "/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"
CLIENT_ID = "tend"
CLIENT_SECRET = "hunter2 +/%:?"
KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "third"})


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    form: dict[str, str]


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.provider.answer(self, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.provider.answer(self, {name: values[0] for name, values in parse_qs(body).items()})

    def say(self, status: int, body: bytes | Json | list[Any], **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    provider: "Provider"

    def handle_error(self, *_: Any) -> None:
        """A client that hung up."""


class Provider:
    """What a test changes stands in its attributes; a claim or a member that is None is left out,
    and a claim that is a timedelta is so far from now."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.published: list[Json] = [KEY.as_dict(private=False)]
        self.key: Key = KEY
        self.alg = "RS256"
        self.header: Json = {"kid": "first"}
        self.claims: Json = {}
        self.metadata: Json = {}
        self.userinfo: Json = {"sub": "24400320"}
        self.access_token = "hunter2-access"
        self.forged: Callable[[Json], str] | None = None
        self.instead: dict[str, Callable[[Answering], None]] = {}
        self.asked: list[Asked] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.stopped = threading.Event()

    def consent(self, authorization_url: str) -> str:
        """The code that somebody brings back who agreed."""
        address = urlsplit(authorization_url)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert address.path == "/authorize"
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = "hunter2-" + secrets.token_urlsafe(16)
        self.codes[code] = query
        return code

    def count(self, path: str) -> int:
        return [each.path for each in self.asked].count(path)

    def answer(self, here: Answering, form: dict[str, str]) -> None:
        self.asked.append(Asked(here.path, {name.lower(): value for name, value in here.headers.items()}, form))
        answers = {
            METADATA: self._configuration,
            JWKS: lambda here: here.say(200, {"keys": self.published}),
            TOKEN: lambda here: self._token(here, form),
            USERINFO: self._userinfo,
        }
        (self.instead.get(here.path) or answers[here.path])(here)

    def _configuration(self, here: Answering) -> None:
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "HS256", "none"],
            **self.metadata,
        }
        here.say(200, _left(metadata), Set_Cookie="somebody=else; Path=/")

    def _token(self, here: Answering, form: dict[str, str]) -> None:
        client_id, client_secret = form.get("client_id"), form.get("client_secret")
        if "Authorization" in here.headers:
            sent = base64.b64decode(here.headers["Authorization"].removeprefix("Basic ")).decode()
            client_id, client_secret = map(unquote_plus, sent.split(":", 1))
        if (client_id, client_secret) not in ((CLIENT_ID, CLIENT_SECRET), ("public", None)):
            return here.say(401, {"error": "invalid_client"})
        asked = self.codes.pop(form["code"], {})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            form["grant_type"] != "authorization_code"
            or asked.get("client_id") != client_id
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        ):
            return here.say(400, {"error": "invalid_grant", "error_description": form["code"]})
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "24400320",
            "aud": client_id,
            "exp": now + 300,
            "iat": now,
            "nonce": asked["nonce"],
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada",
            **self.claims,
        }
        claims = {name: _moment(now, value) for name, value in _left(claims).items()}
        id_token = self.forged(claims) if self.forged else self.signed(claims)
        return here.say(200, {"access_token": self.access_token, "token_type": "Bearer", "id_token": id_token})

    def signed(self, claims: Json) -> str:
        registry = JWSRegistry(algorithms=[self.alg], strict_check_header=False)
        header = {"alg": self.alg, **_left(self.header)}
        return jws.serialize_compact(header, json.dumps(claims), self.key, registry=registry)

    def _userinfo(self, here: Answering) -> None:
        if here.headers["Authorization"] != f"Bearer {self.access_token}":
            return here.say(401, {"error": "invalid_token"})
        return here.say(200, self.userinfo)


def _moment(now: int, value: Any) -> Any:
    return now + int(value.total_seconds()) if isinstance(value, timedelta) else value


def _left(members: Json) -> Json:
    return {name: value for name, value in members.items() if value is not None}


@contextmanager
def providing(tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    server = Server(("127.0.0.1", 0), Answering)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    provider = Provider(f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.server_port}")
    server.provider = provider
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield provider
    finally:
        provider.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def certificate_for_localhost(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Signed by itself, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, secret = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return path, context


def hangs(here: Answering) -> None:
    here.server.provider.stopped.wait(60)


def hangs_up(here: Answering) -> None:
    here.connection.shutdown(socket.SHUT_RDWR)
    here.close_connection = True


def drips(here: Answering) -> None:
    """A byte now and then: no single wait is long."""
    here.send_response(200)
    here.send_header("Content-Length", "100000")
    here.end_headers()
    while not here.server.provider.stopped.wait(0.05):
        here.wfile.write(b" ")


def settings_with(issuer: str, **others: Any) -> Settings:
    client = {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **others}
    return Settings(_env_file=None, oidc_providers={"there": client}, oidc_redirect_uris=[BACK, APP])


async def sign_in(outside: Outside, there: Provider, **others: Any) -> Identity:
    begun = await outside.begin("there", BACK)
    kept = {"code_verifier": begun.code_verifier, "nonce": begun.nonce, **others}
    return await outside.finish("there", BACK, there.consent(begun.authorization_url), **kept)


@contextmanager
def packaged() -> Iterator[str]:
    """The address of `oidc-provider-mock`, in a process of its own: it uses parts of Authlib that warn."""
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", "0", "--require-nonce"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    printed = ""
    try:
        for line in process.stderr:
            printed += line
            if address := re.search(r"running on http://127\.0\.0\.1:(\d+)", printed):
                yield f"http://127.0.0.1:{address[1]}"
                break
        else:
            raise AssertionError(printed)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def agree(authorization_url: str, sub: str) -> dict[str, str]:
    """What that provider sends somebody back with who agreed there."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.post(authorization_url, data={"sub": sub})
    assert answer.headers["Location"].startswith(BACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
