"""Who somebody is, and how they are known: looked up before there is a user.

One of these tables that has a `user_id` says so with `info={"identity": True}`, or the wall would refuse it.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.models.columns import instant


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("char_length(email) <= 254", name="email_length"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        UniqueConstraint("email_key"),
    )

    id: UUID = Field(primary_key=True)
    email: str = Field(sa_type=Text)
    email_key: str = Field(sa_type=Text)  # casefolded: what makes two addresses the same
    name: str = Field(sa_type=Text)
    timezone: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "UTC"})
    language: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "en"})
    password_hash: str | None = Field(sa_type=Text)  # none: nobody signs in with a password
    is_verified: bool = Field(sa_column_kwargs={"server_default": text("false")})
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)


class Session(SQLModel, table=True):
    """One sign-in on one device: the family of its refresh tokens."""

    __tablename__ = "sessions"
    __table_args__ = {"info": {"identity": True}}

    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    created_at: datetime = instant(now=True)
    last_used_at: datetime = instant(now=True)
    expires_at: datetime = instant()
    ended_at: datetime | None = instant(nullable=True)


class RefreshToken(SQLModel, table=True):
    """SHA-256 of each token that was given out. A used one that comes back ends its session."""

    __tablename__ = "refresh_tokens"

    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    session_id: UUID = Field(foreign_key="sessions.id", ondelete="CASCADE", index=True)
    created_at: datetime = instant(now=True)
    used_at: datetime | None = instant(nullable=True)


class SyncState(SQLModel, table=True):
    """The counter that numbers a user's changes, and the lock that puts them in order."""

    __tablename__ = "sync_state"
    __table_args__ = (CheckConstraint("floor <= seq", name="floor_below_seq"),)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    seq: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    floor: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    epoch: UUID = Field(sa_column_kwargs={"server_default": text("gen_random_uuid()")})
