"""Accounts and tokens on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.scalars import Email, Language, Name, Password, Text, Wire, Zone


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

    username: Text = Field(description="The account's email address.", examples=["ada@example.com"])
    password: Text = Field(examples=["correct horse battery"], json_schema_extra={"format": "password"})
    grant_type: Literal["password", ""] = "password"
    scope: Text = ""
    client_id: Text = ""
    client_secret: Text = Field("", json_schema_extra={"format": "password"})


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
