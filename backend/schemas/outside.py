"""Signing in elsewhere, on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.scalars import Characters, Sealed, Text, Trimmed, Wire


class Providers(Wire):
    items: list[str] = Field(description="Their names, as the configuration has them.", examples=[["google"]])


class OutsideBegin(Wire):
    redirect_uri: Text = Field(
        description="Where the provider sends back to: one of OIDC_REDIRECT_URIS.",
        examples=["https://app.example.com/signed-in"],
    )


class OutsideBegun(Wire):
    authorization_url: str = Field(
        description="Open it in the browser.", examples=["https://accounts.google.com/o/oauth2/v2/auth?…"]
    )
    flow: str = Field(description="Keep it, and send it with the code; good for ten minutes.", examples=["gAAAAABn…"])


class ComeBack(Wire):
    """What the provider's redirect brought, and the flow that was begun."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"flow": "gAAAAABn…", "state": "…", "code": "…"}]})

    flow: Sealed
    state: Sealed
    code: Sealed
    iss: Sealed | None = Field(None, description="If the redirect had it (RFC 9207).")
    device: Annotated[Trimmed, Characters(0, 200)] = Field(
        "", description="What this sign-in is called among your sessions; the User-Agent if it is left out."
    )


class IdentityLink(ComeBack):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"provider": "google", "flow": "gAAAAABn…", "state": "…", "code": "…"}]}
    )

    provider: Text = Field(description="With which the flow was begun.")


class IdentityRead(Wire):
    id: UUID = Field(examples=["01997f3e-3333-7c31-9d04-8b1f6f1c2a55"])
    provider: str = Field(examples=["google"])
    issuer: str = Field(examples=["https://accounts.google.com"])
    email: str | None = Field(description="As the provider vouched for it.", examples=["ada@example.com"])
    created_at: datetime


class Identities(Wire):
    items: list[IdentityRead] = Field(description="Oldest first.")
