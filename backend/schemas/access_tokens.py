"""Personal access tokens on the wire."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from backend.schemas.scalars import Instant, Name, Shown, Wire, no_twice

DEFAULT_DAYS: Final = 90
MOST_DAYS: Final = 366

ScopeName = Literal["tasks:read", "tasks:write", "account"]
EXAMPLE: dict[str, Any] = {
    "name": "Backup script",
    "scopes": ["tasks:read"],
    "expires_at": "2027-01-31T00:00:00Z",
}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99",
    "name": "Backup script",
    "hint": "x3Qd",
    "scopes": ["tasks:read"],
    "created_at": "2026-11-22T08:15:00.123456Z",
    "last_used_at": None,
    "expires_at": "2027-01-31T00:00:00.000000Z",
}


class AccessTokenCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: Name = Field(description="What it is for.")
    scopes: Annotated[
        list[ScopeName], Field(min_length=1, max_length=3), AfterValidator(no_twice), Shown(uniqueItems=True)
    ] = Field(description="What it may do: docs/security.md says which route needs which.")
    expires_at: Instant | None = Field(
        None, description=f"Within {MOST_DAYS} days; in {DEFAULT_DAYS} days if it is left out."
    )


class AccessTokenRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    name: str
    hint: str = Field(description="Its last characters.")
    scopes: list[ScopeName]
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute; null before the first time.")
    expires_at: datetime


class AccessTokenCreated(AccessTokenRead):
    model_config = ConfigDict(json_schema_extra={"examples": [{**READ_EXAMPLE, "token": "tend_…x3Qd"}]})

    token: str = Field(description="Shown here, and never again.")


class AccessTokens(Wire):
    items: list[AccessTokenRead] = Field(description="Newest first.")
