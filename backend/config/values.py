"""Kinds of values that settings have, each refused in plain words, and without the value: it can hold a password."""

import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import certifi
from pydantic import AfterValidator, AnyUrl, BeforeValidator, HttpUrl, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import NoDecode


def postgres_url(url: str) -> str:
    """With the driver that is used here, from any way in which hosts write it. Raises ValueError.

    A certificate that is to be verified is verified against this machine's authorities, unless others are named:
    libpq would look into the user's home, and `system` in a folder of the wheel that it came in.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg"} or not rest:
        raise ValueError("not a Postgres address; expected postgresql://user:password@host/database")
    address, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if options.get("sslmode") in {"verify-ca", "verify-full"} and options.get("sslrootcert", "system") == "system":
        rest = f"{address}?{urlencode({**options, 'sslrootcert': authorities()})}"
    return f"postgresql+psycopg://{rest}"


def authorities() -> str:
    """The file of the certificate authorities that this machine trusts; certifi's where it has none."""
    known = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
    for file in (os.environ.get("SSL_CERT_FILE"), *known):
        if file and Path(file).is_file():
            return file
    return certifi.where()


def listed(given: Any) -> Any:
    """What is written with commas between, or as a JSON list."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        try:
            return json.loads(given)
        except json.JSONDecodeError:
            raise ValueError("neither a JSON list nor values with commas between") from None
    return [part.strip() for part in given.split(",") if part.strip()]


def origin(text: str) -> str:
    """As a browser sends it in `Origin` (RFC 6454, section 6.2), since it is compared as text. Raises ValueError."""
    like = "; expected one like https://app.example.com"
    if "*" in text:
        raise ValueError(f"`*` would let the pages of strangers in: name each origin{like}")
    scheme, separator, rest = text.partition("://")
    if not scheme or not separator:
        raise ValueError(f"an origin without its scheme{like}")
    if rest.endswith("/"):
        raise ValueError(f"an origin ends without a slash{like}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"not an origin{like}") from None
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"an origin has no path{like}")
    if not parts.hostname or "@" in rest or not text.isascii() or text != text.lower():
        raise ValueError(f"an origin is a host in lower case, perhaps with a port{like}")
    if {"http": 80, "https": 443}.get(scheme) == port:
        raise ValueError(f"a browser leaves the scheme's own port out{like}")
    return text


def network(text: str) -> str:
    """In CIDR, of one address too. Raises ValueError."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            meant = ipaddress.ip_network(text, strict=False)
            raise ValueError(f"not an address or a network in CIDR; did you mean {meant}?") from None
        raise ValueError("not an address or a network in CIDR; expected one like 10.0.0.0/8 or 2001:db8::1") from None
    if found.prefixlen == 0:
        raise ValueError("that is every address there is; name the networks that you mean")
    return str(found)


def recipient(key: str) -> str:
    """An age public key. Raises ValueError."""
    from pyrage import RecipientError, x25519  # what most commands do without

    try:
        x25519.Recipient.from_str(key)
    except RecipientError:
        raise ValueError("not an age public key; expected one like age1…, as `age-keygen` prints it") from None
    return key


def decided(given: Any) -> Any:
    """As other switches are written, or `auto`. Raises ValueError."""
    if given == "auto":
        return given
    try:
        return TypeAdapter(bool).validate_python(given)
    except ValidationError:
        raise ValueError("expected auto, true or false") from None


PostgresURL = Annotated[str, AfterValidator(postgres_url)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], NoDecode, BeforeValidator(listed)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(network)], ...], NoDecode, BeforeValidator(listed)]
Decided = Annotated[bool | Literal["auto"], BeforeValidator(decided)]
Recipients = Annotated[tuple[Annotated[str, AfterValidator(recipient)], ...], NoDecode, BeforeValidator(listed)]


@dataclass(frozen=True, slots=True, repr=False)  # it holds a password
class SMTPServer:
    """`tls` is from the start; `starttls` comes first of all, and a server that does not know it is not used."""

    host: str
    port: int
    security: Literal["plain", "starttls", "tls"]
    user: str | None = None
    password: str | None = None


def smtp_server(address: str) -> SMTPServer:
    """What SMTP_URL says; the ports are those of RFC 8314, section 3, and RFC 5321. Raises ValueError."""
    try:
        url = AnyUrl(address)
    except ValidationError:  # which would show it
        url = AnyUrl("invalid:")
    beside = url.path not in {None, "/"} or url.query or url.fragment
    if url.scheme not in {"smtp", "smtps"} or not url.host or beside:
        raise ValueError(
            "not a mail server; expected smtp://user:password@host:587 or smtps://user:password@host:465, "
            "with what is special in them percent-encoded"
        )
    if bool(url.username) != bool(url.password):
        raise ValueError("a user and a password go together")
    user, password = (unquote(part) if part else None for part in (url.username, url.password))
    host = url.host.strip("[]")
    if url.scheme == "smtps":
        return SMTPServer(host, url.port or 465, "tls", user, password)
    if user or not _is_local(host):
        return SMTPServer(host, url.port or 587, "starttls", user, password)
    return SMTPServer(host, url.port or 25, "plain")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def mailbox(sender: str) -> tuple[str, str]:
    """Name, which may be empty, and address, in ASCII, of `Tend <tend@example.com>`. Raises ValueError."""
    from email_validator import EmailNotValidError, validate_email  # what most commands do without

    name, bracket, rest = sender.rpartition("<")
    address = rest.removesuffix(">") if bracket and rest.endswith(">") else sender
    try:
        normal = validate_email(address, check_deliverability=False, test_environment=True).ascii_email
    except EmailNotValidError:
        normal = None
    if not normal or not name.isprintable():
        raise ValueError("not a sender; expected one like Tend <tend@example.com>")
    return name.strip().strip('"'), normal


def _checked_smtp_url(url: SecretStr) -> SecretStr:
    smtp_server(url.get_secret_value())
    return url


def _checked_sender(sender: str) -> str:
    mailbox(sender)
    return sender


def app_url(address: str) -> str:
    """Without a slash at its end: a path is put behind it. Raises ValueError."""
    return _web_address(address, like="https://app.example.com")


def _web_address(address: str, like: str) -> str:
    try:
        url = HttpUrl(address)
    except ValidationError:
        raise ValueError(f"not a web address; expected one like {like}") from None
    if url.query or url.fragment or url.username or url.password:
        raise ValueError(f"expected a web address without a user, `?` and `#`, like {like}")
    return str(url).rstrip("/")


def traces_url(address: str) -> str:
    """The endpoint of OTLP over HTTP, to which a signal's path is added. Raises ValueError."""
    endpoint = _web_address(address, like="http://localhost:4318")
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk  # noqa: F401
    except ImportError:
        raise ValueError("set, and what sends traces is not installed: `pip install -e '.[tracing]'`") from None
    return endpoint


SMTPURL = Annotated[SecretStr, AfterValidator(_checked_smtp_url)]
Sender = Annotated[str, AfterValidator(_checked_sender)]
AppURL = Annotated[str, AfterValidator(app_url)]
TracesURL = Annotated[str, AfterValidator(traces_url)]
