"""The environment, read once, refused when wrong.

The descriptions below are the documentation of the settings: `.env.example` is made from them
(`tend settings`), and a test keeps the two equal.
"""

import os
import secrets
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.config.registration import RedirectURIs, Registrations
from backend.config.values import (
    SMTPURL,
    AppURL,
    Decided,
    Networks,
    Origins,
    PostgresURL,
    Recipients,
    Sender,
    TracesURL,
)

SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key is no shorter than the hash


class SettingsError(Exception):
    """The environment is wrong; each line of the message begins with the setting's name."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )

    environment: Literal["development", "production"] = Field(
        "development",
        description="`production` asks for a DATABASE_URL and a JWT_SECRET of your own.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8000, ge=0, le=65_535, description="The port to listen on; 0 picks a free one.")
    data_dir: Path = Field(
        Path(".data"),
        description="Where the embedded Postgres and the development secret are kept.",
    )
    database_url: PostgresURL | None = Field(
        None,
        repr=False,
        description="Your Postgres, 15 or newer (a pooled address is fine). Unset: an embedded one is started.",
    )
    direct_database_url: PostgresURL | None = Field(
        None,
        repr=False,
        description="The same database without a pooler, for migrations and backups. Unset: DATABASE_URL.",
    )
    database_replica_url: PostgresURL | None = Field(
        None,
        repr=False,
        description="A read replica. Listings and searches of a client that says in `Tend-Change` what it has seen go "
        "there, if the replica has come so far. Unset: none.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        description="Signs the access tokens: 32 bytes or more, for instance from `openssl rand -base64 48`. "
        "Unset in development: one is made and kept in DATA_DIR.",
    )
    jwt_secret_former: SecretStr | None = Field(
        None,
        description="The JWT_SECRET before, while you replace it: its tokens are still read, and what it sealed is "
        "still opened. Run `tend keys reseal`, and take it away an hour later.",
    )
    token_algorithm: Literal["HS256", "ES256"] = Field(
        "HS256",
        description="Of the access tokens' signatures. ES256 when other services verify them, with the keys at "
        "/.well-known/jwks.json; changing it makes everybody's client refresh its token.",
    )
    access_token_minutes: int = Field(15, ge=1, le=60, description="How long an access token lasts.")
    refresh_idle_days: int = Field(
        30, ge=1, le=365, description="A sign-in that is not refreshed for so many days ends."
    )
    refresh_max_days: int = Field(180, ge=1, le=730, description="A sign-in ends after so many days at the latest.")
    oidc_providers: Registrations = Field(
        {},
        description="Where people may sign in instead of here (OpenID Connect), as JSON: "
        '{"google": {"issuer": "https://accounts.google.com", "client_id": "…", "client_secret": "…"}}. '
        'The name is yours; without "client_secret" it is a public client; "scope" is "openid email profile".',
    )
    oidc_redirect_uris: RedirectURIs = Field(
        [],
        description="The pages and applications to which a provider may send people back, each exactly as it is "
        'registered there, as JSON: ["https://app.example.com/signed-in", "com.example.app:/signed-in"].',
    )
    api_requests_per_minute: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="That one user may make, over all workers; past it the answer is 429. 0: any.",
    )
    account_grace_days: int = Field(
        14,
        ge=1,
        le=90,
        description="An account that was deleted is kept for so long, in case its owner signs in again.",
    )
    smtp_url: SMTPURL | None = Field(
        None,
        description="The server that sends your mail: smtp://user:password@host:587 (STARTTLS, which is demanded "
        "unless the host is local and there is no user), smtps://user:password@host:465 (TLS from the start), "
        "smtp://localhost:1025. Percent-encode what is special in user and password. Unset: no mail in production; "
        "in development it is written to the log.",
    )
    mail_from: Sender | None = Field(
        None, description="Whom the mail comes from, like `Tend <tend@example.com>`. Goes with SMTP_URL."
    )
    app_url: AppURL | None = Field(
        None,
        description="Where your front end is, like https://app.example.com: links in mail lead to its pages "
        "/verify-email and /reset-password, with `#token=…`. Unset: a mail holds the token itself.",
    )
    webhooks: bool = Field(True, description="Whether users may have messages sent to addresses that they name.")
    webhook_networks: Networks = Field(
        (),
        description="Networks (10.0.0.0/8) or addresses (127.0.0.1), with commas between, that webhooks may lead to "
        "besides the internet, and by http too. Unset: none, so that nobody reaches your machines through this one.",
    )
    cors_origins: Origins = Field(
        (),
        description="Web pages of other origins that may use the API, with commas between: https://app.example.com. "
        "Unset: none, and no CORS headers.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="The addresses or networks (10.0.0.0/8) of the proxies in front, with commas between: only their "
        "X-Forwarded-For and X-Forwarded-Proto are believed. Unset: nobody's, and the proxy counts as the client.",
    )
    web_concurrency: int = Field(1, ge=1, le=64, description="Worker processes; about one a core.")
    max_connections: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Clients' connections that a worker holds at once; less where the system allows it fewer files. "
        "When they are all taken, the one that was idle longest makes room, and if none is idle, the answer is 503.",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        description="Of one client address, unless TRUSTED_PROXIES names it. Unset: half of MAX_CONNECTIONS.",
    )
    client_timeout_seconds: float = Field(
        20,
        gt=0,
        le=600,
        description="For the head of a request; past it the answer is 408. After as long, a body that is sent, and an "
        "answer that is read, at less than 1 KiB a second is given up, and after 15 times as long any body.",
    )
    keep_alive_seconds: float = Field(
        65,
        gt=0,
        le=3_600,
        description="A connection on which nothing is asked is closed then. More than the proxy in front keeps its own "
        "(often 60), or it sends requests into connections that are being closed.",
    )
    pool_size: int = Field(
        4,
        ge=1,
        le=100,
        description="Database connections a worker. Small is fast: two to four serve hundreds of clients.",
    )
    database_timeout_seconds: float = Field(
        10,
        gt=0,
        le=300,
        description="Waiting for a connection and for a statement's answer; past it the answer is 503.",
    )
    prepared_statements: Decided = Field(
        "auto",
        description="Faster by a tenth to a third; through a pooler that does not keep them (PgBouncer before 1.22), "
        "wrong. `auto` finds out at the first connection; `true` and `false` decide.",
    )
    backup_recipients: Recipients = Field(
        (),
        description="Whoever may read the backups: age public keys (age1…), with commas between. The private key "
        "(made by `age-keygen`) is kept elsewhere, not on this server. Unset: backups are not encrypted.",
    )
    sql_echo: bool = Field(False, description="Logs every statement, with its values. For development.")
    access_log: bool = Field(
        False,
        description="Logs a line a request: its id, route, status, milliseconds and statements, and whose it was under "
        "a pseudonym; never a path or a query. Off, metrics count requests all the same, and what fails is logged.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: a JSON object a line; text: for people. auto: json in production, else text."
    )
    slow_statement_ms: int = Field(
        500,
        ge=0,
        le=600_000,
        description="A statement that takes so many milliseconds is logged with its plan, without values. 0: none.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Whoever asks for /metrics (Prometheus) sends it as a Bearer token: 32 bytes or more, for instance "
        "from `openssl rand -hex 32`. Unset: open in development, and not there in production.",
    )
    otel_exporter_otlp_endpoint: TracesURL | None = Field(
        None,
        description="Where traces go, by OTLP over HTTP, like http://localhost:4318: spans of requests and statements. "
        "Needs `pip install -e '.[tracing]'`. Unset: no traces. OpenTelemetry's other variables (OTEL_SERVICE_NAME, "
        "OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS) hold in the environment, and not in `.env`.",
    )

    @model_validator(mode="after")
    def _production_brings_its_own(self) -> Self:
        for name, secret in (("JWT_SECRET", self.jwt_secret), ("JWT_SECRET_FORMER", self.jwt_secret_former)):
            if secret and len(secret.get_secret_value().encode()) < SECRET_BYTES:
                raise ValueError(f"{name}: shorter than {SECRET_BYTES} bytes; try `openssl rand -base64 48`")
        if self.metrics_token and len(self.metrics_token.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"METRICS_TOKEN: shorter than {SECRET_BYTES} bytes; try `openssl rand -hex 32`")
        missing = []
        if self.environment == "production":
            if not self.database_url:
                missing.append("DATABASE_URL: not set, and production needs a database of its own")
            if not self.jwt_secret:
                missing.append("JWT_SECRET: not set, and production has no default; try `openssl rand -base64 48`")
        if missing:
            raise ValueError("\n".join(missing))
        return self

    @model_validator(mode="after")
    def _a_provider_sends_back(self) -> Self:
        if self.oidc_providers and not self.oidc_redirect_uris:
            raise ValueError("OIDC_REDIRECT_URIS: not set, and OIDC_PROVIDERS needs an address to send people back to")
        return self

    @model_validator(mode="after")
    def _mail_has_server_and_sender(self) -> Self:
        if self.smtp_url and not self.mail_from:
            raise ValueError("MAIL_FROM: not set, and SMTP_URL is; mail needs a sender")
        if self.mail_from and not self.smtp_url:
            raise ValueError("SMTP_URL: not set, and MAIL_FROM is; mail needs a server")
        return self

    @property
    def offers_metrics(self) -> bool:
        """Not where nobody could ask for them: in production, METRICS_TOKEN opens them."""
        return self.metrics_token is not None or self.environment == "development"

    @property
    def logs_json(self) -> bool:
        return self.log_format == "json" or (self.log_format == "auto" and self.environment == "production")

    @property
    def direct_url(self) -> str | None:
        """The address for what needs a session of its own; None is the embedded one's."""
        return self.direct_database_url or self.database_url

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The one that signs and seals, and the former one, if there is."""
        former = (self.jwt_secret_former.get_secret_value().encode(),) if self.jwt_secret_former else ()
        return (self.signing_secret, *former)

    @property
    def signing_secret(self) -> bytes:
        """JWT_SECRET, or the development secret, made at first use with mode 0600."""
        if self.jwt_secret:
            return self.jwt_secret.get_secret_value().encode()
        return _kept_secret(self.data_dir / "jwt-secret")


def _kept_secret(path: Path) -> bytes:
    """Written aside and linked into place, so that two processes starting at once agree on one."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"DATA_DIR: cannot use {path.parent}: {error.strerror}") from None
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(48).encode())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise SettingsError(f"DATA_DIR: {path} is damaged; delete it and everybody signs in again")
    return secret


def load() -> Settings:
    """The settings of this process.

    Raises SettingsError, a line a wrong setting, without the value (it may be a secret).
    """
    try:
        return Settings()
    except ValidationError as wrong:
        lines = []
        for error in wrong.errors(include_input=False, include_url=False):
            message = error["msg"].removeprefix("Value error, ")
            first, *rest = error["loc"] or ("",)
            inside = [f"number {key + 1}" if isinstance(key, int) else key for key in rest]
            place = [str(first).upper(), *inside] if first else []
            lines.append(": ".join([*place, message]))
        raise SettingsError("\n".join(lines)) from None


def example() -> str:
    """The text of `.env.example`: every setting with its description, commented out at its default."""
    blocks = ["# Copy to .env and change what you need. Made by `tend settings`."]
    for name, field in Settings.model_fields.items():
        value = "" if field.default in (None, ()) else field.default
        shown = str(value).lower() if isinstance(value, bool) else value
        blocks.append(f"# {field.description}\n# {name.upper()}={shown}")
    return "\n\n".join(blocks) + "\n"
