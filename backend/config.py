"""The environment, read once, refused when wrong.

The descriptions below are the documentation of the settings: `.env.example` is made from them
(`tend settings`), and a test keeps the two equal.
"""

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key is no shorter than the hash


class SettingsError(Exception):
    """The environment is wrong; each line of the message begins with the setting's name."""


def postgres_url(url: str) -> str:
    """With the driver that is used here, from any way in which hosts write it. Raises ValueError."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg"} or not rest:
        raise ValueError("not a Postgres address; expected postgresql://user:password@host/database")
    return f"postgresql+psycopg://{rest}"


PostgresURL = Annotated[str, AfterValidator(postgres_url)]


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
        description="The same database without a pooler, for migrations. Unset: DATABASE_URL.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        description="Signs the access tokens: 32 bytes or more, for instance from `openssl rand -base64 48`. "
        "Unset in development: one is made and kept in DATA_DIR.",
    )
    access_token_minutes: int = Field(15, ge=1, le=60, description="How long an access token lasts.")
    refresh_idle_days: int = Field(
        30, ge=1, le=365, description="A sign-in that is not refreshed for so many days ends."
    )
    refresh_max_days: int = Field(180, ge=1, le=730, description="A sign-in ends after so many days at the latest.")
    web_concurrency: int = Field(1, ge=1, le=64, description="Worker processes; about one a core.")
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
    prepared_statements: bool = Field(
        True, description="Off for a pooler that does not keep them (PgBouncer before 1.22)."
    )
    sql_echo: bool = Field(False, description="Logs every statement, with its values. For development.")
    access_log: bool = Field(False, description="Logs a line a request.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @model_validator(mode="after")
    def _production_brings_its_own(self) -> Self:
        if self.jwt_secret and len(self.jwt_secret.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"JWT_SECRET: shorter than {SECRET_BYTES} bytes; try `openssl rand -base64 48`")
        missing = []
        if self.environment == "production":
            if not self.database_url:
                missing.append("DATABASE_URL: not set, and production needs a database of its own")
            if not self.jwt_secret:
                missing.append("JWT_SECRET: not set, and production has no default; try `openssl rand -base64 48`")
        if missing:
            raise ValueError("\n".join(missing))
        return self

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
            name = str(error["loc"][0]).upper() + ": " if error["loc"] else ""
            lines.append(name + message)
        raise SettingsError("\n".join(lines)) from None


def example() -> str:
    """The text of `.env.example`: every setting with its description, commented out at its default."""
    blocks = ["# Copy to .env and change what you need. Made by `tend settings`."]
    for name, field in Settings.model_fields.items():
        value = field.default if field.default is not None else ""
        shown = str(value).lower() if isinstance(value, bool) else value
        blocks.append(f"# {field.description}\n# {name.upper()}={shown}")
    return "\n\n".join(blocks) + "\n"
