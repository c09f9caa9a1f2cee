"""Accounts and tokens on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.scalars import (
    Characters,
    Email,
    FromDigits,
    Language,
    Name,
    NotNull,
    Password,
    Sealed,
    Shown,
    Text,
    Trimmed,
    Wire,
    Zone,
)


class Register(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}]
        }
    )

    email: Email
    password: Password
    name: Name
    timezone: Zone = Field("UTC", description="An IANA time zone: in which a day begins and ends.")
    language: Language = Field(
        "en",
        description="In which tasks are written, and searched: two letters of ISO 639-1. One that Postgres has no "
        "stemmer for is searched word by word, as is `simple`.",
    )


class TokenForm(Wire):
    """The OAuth2 password grant (RFC 6749, section 4.3.2), and what Swagger's Authorize sends beside it."""

    # A form's empty field is none (FastAPI), so these have a length.
    username: Annotated[Text, Shown(minLength=1)] = Field(
        description="The account's email address.", examples=["ada@example.com"]
    )
    password: Annotated[Text, Shown(minLength=1)] = Field(
        examples=["correct horse battery"], json_schema_extra={"format": "password"}
    )
    grant_type: Literal["password", ""] = "password"
    scope: Text = ""
    client_id: Text = ""
    client_secret: Text = Field("", json_schema_extra={"format": "password"})
    device: Annotated[Trimmed, Characters(0, 200)] = Field(
        "", description="What this sign-in is called among your sessions; the User-Agent if it is left out."
    )


class Refresh(Wire):
    refresh_token: Text = Field(examples=["kq3Vn8mJ0cQmZ7hYp1rT5xWb9sDf2gLk4uEoAiRyNtM"])


class TokenPair(Wire):
    access_token: str = Field(description="Sent as `Authorization: Bearer …`.", examples=["eyJhbGciOi…"])
    refresh_token: str = Field(description="Good for one new pair.", examples=["kq3Vn8mJ0c…"])
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds that the access token lasts.", examples=[900])


class Account(Wire):
    id: UUID = Field(examples=["01997f3e-1111-7c31-9d04-8b1f6f1c2a55"])
    email: str = Field(examples=["ada@example.com"])
    name: str = Field(examples=["Ada"])
    timezone: str = Field(examples=["UTC"])
    language: str = Field(examples=["en"])
    is_verified: bool
    created_at: datetime


class PasswordChange(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current_password": "correct horse battery", "new_password": "a staple is not a horse"}]
        }
    )

    current_password: Text
    new_password: Password


class SessionRead(Wire):
    """A sign-in on a device."""

    id: UUID = Field(examples=["01997f3e-2222-7c31-9d04-8b1f6f1c2a55"])
    device: str = Field(description="As the client called it.", examples=["Ada's phone"])
    address: str = Field(description="From where it was begun; of IPv6 the network.", examples=["203.0.113.7"])
    is_current: bool = Field(description="Whether it is the one that asks.")
    created_at: datetime
    last_used_at: datetime = Field(description="To the minute.")
    expires_at: datetime


class Sessions(Wire):
    items: list[SessionRead] = Field(description="Last used first.")


class Ended(Wire):
    ended: int = Field(description="How many.", examples=[2])


class AuditEventRead(Wire):
    id: UUID
    at: datetime
    kind: str = Field(examples=["signed_in"])
    address: str = Field(examples=["203.0.113.7"])
    device: str = Field(examples=["Ada's phone"])
    detail: dict[str, Any] = Field(description="What else is known of it.")


class AuditEvents(Wire):
    items: list[AuditEventRead] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="null at the end.")


class AuditFilter(Wire):
    limit: Annotated[int, Field(ge=1, le=200), FromDigits] = Field(50, description="How many events.")
    cursor: Annotated[Text, Characters(1, 2_000)] | None = Field(
        None, description="`next_cursor` of the answer before."
    )


class AccountPatch(Wire):
    """RFC 7396: absent leaves alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada L.", "timezone": "Europe/London"}]})

    name: Annotated[Name | None, NotNull] = None
    timezone: Annotated[Zone | None, NotNull] = None
    language: Annotated[Language | None, NotNull] = Field(
        None, description="Of your tasks, all of them: each gets a new version, and is found by its new stems."
    )

    def sent(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class EmailChange(Wire):
    email: Email = Field(examples=["ada@example.org"])


class MailWanted(Wire):
    email: Text = Field(description="The account's address.", examples=["ada@example.com"])


class MailedToken(Wire):
    token: Annotated[Text, Characters(0, 200)] = Field(
        description="As it was mailed.", examples=["kq3Vn8mJ0cQmZ7hYp1rT5xWb9sDf2gLk4uEoAiRyNtM"]
    )


class PasswordReset(MailedToken):
    new_password: Password = Field(examples=["a staple is not a horse"])


class Ending(Wire):
    ends_at: datetime = Field(description="When everything of yours is deleted, unless you sign in before.")


class SecondFactorCode(Wire):
    challenge: Sealed = Field(description="Of the 401 that the sign-in answered.", examples=["gAAAAABn…"])
    code: Annotated[Text, Characters(0, 100)] = Field(
        description="Six digits of the app, or a recovery code.", examples=["492039"]
    )


class Code(Wire):
    code: Annotated[Text, Characters(0, 100)] = Field(description="Six digits of the app.", examples=["492039"])


class SecondFactorBegun(Wire):
    secret: str = Field(description="In base32, for typing.", examples=["JBSWY3DPEHPK3PXP"])
    uri: str = Field(description="For a QR code.", examples=["otpauth://totp/Tend:ada%40example.com?secret=…"])


class SecondFactorRead(Wire):
    is_on: bool
    since: datetime | None
    recovery_codes_left: int


class RecoveryCodes(Wire):
    recovery_codes: list[str] = Field(
        description="Each good once in place of a code. Shown here, and never again.",
        examples=[["k7m2xq-8fh3nd-pz4wrt-y6cjvb"]],
    )
