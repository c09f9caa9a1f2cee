"""Addresses that are told of changes, and what they were told (docs/webhooks.md)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.models.columns import INTERNAL, instant

PENDING = text("delivered_at IS NULL")


class Webhook(SQLModel, table=True):
    """Has been told of the user's changes up to `told_version`. Whichever worker has claimed it goes on from there."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("char_length(url) BETWEEN 1 AND 2000", name="url_length"),
        CheckConstraint("char_length(description) BETWEEN 1 AND 100", name="description_length"),
        CheckConstraint("jsonb_typeof(events) = 'array'", name="events_array"),
        CheckConstraint("told_version >= 0", name="told_version_sound"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_because IS NULL)", name="disabled_because_something"),
        CheckConstraint("num_nonnulls(former_secret, former_until) <> 1", name="former_secret_ends"),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    url: str = Field(sa_type=Text)
    description: str | None = Field(sa_type=Text)
    events: list[str] = Field(sa_type=JSONB)
    secret: str = Field(sa_type=Text, sa_column_kwargs=INTERNAL)  # sealed, as is the former
    former_secret: str | None = Field(sa_type=Text, sa_column_kwargs=INTERNAL)
    former_until: datetime | None = instant(nullable=True)  # both sign until then
    told_version: int = Field(sa_type=BigInteger)
    settled_version: int = Field(sa_type=BigInteger)  # when nothing was left to tell, for the last time
    epoch: UUID  # of the counter that `told_version` is of
    claim: UUID | None = Field(sa_column_kwargs=INTERNAL)  # of the worker that delivers, until `claimed_until`
    claimed_until: datetime = instant(now=True, **INTERNAL)
    failures: int = Field(0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})  # in a row
    failing_since: datetime | None = instant(nullable=True)
    next_try_at: datetime = instant(now=True)
    disabled_at: datetime | None = instant(nullable=True)
    disabled_because: str | None = Field(sa_type=Text)
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)


class WebhookDelivery(SQLModel, table=True):
    """A message to one address: waiting, or delivered and kept for a while to be looked at and sent again."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "webhook_id"],
            ["webhooks.user_id", "webhooks.id"],
            name="webhook_deliveries_webhook_fkey",
            ondelete="NO ACTION",
        ),
        Index("webhook_deliveries_pending", "user_id", "webhook_id", "id", postgresql_where=PENDING),
        Index("webhook_deliveries_delivered", "delivered_at"),
        INTERNAL,
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    webhook_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    type: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)  # as it is sent, so that each try is the same to the byte
    attempts: int = Field(0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    tries: list[dict[str, Any]] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})
    created_at: datetime = instant(now=True)
    delivered_at: datetime | None = instant(nullable=True)
