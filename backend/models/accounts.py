"""Who somebody is, and how they are known: looked up before there is a user.

One of these tables that has a `user_id` says so with `info={"identity": True}`, or the wall would refuse it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from backend.models.columns import INTERNAL, instant


def _digest(*, primary_key: bool = False) -> Any:
    """SHA-256 of a token, in place of the token: 32 bytes, shown to nobody."""
    return Field(sa_type=LargeBinary, primary_key=primary_key, sa_column_kwargs=INTERNAL)


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("char_length(email) <= 254", name="email_length"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        UniqueConstraint("email_key"),
        Index("users_ends_at", "ends_at", postgresql_where=text("ends_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    email: str = Field(sa_type=Text)
    # Casefolded: what makes two addresses the same.
    email_key: str = Field(sa_type=Text, sa_column_kwargs=INTERNAL)
    name: str = Field(sa_type=Text)
    timezone: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "UTC"})
    language: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "en"})
    # None: nobody signs in with a password.
    password_hash: str | None = Field(sa_type=Text, sa_column_kwargs=INTERNAL)
    is_verified: bool = Field(sa_column_kwargs={"server_default": text("false")})
    disabled_at: datetime | None = instant(nullable=True)  # by the operator
    ends_at: datetime | None = instant(nullable=True)  # asked to be deleted: when everything goes
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)


class Session(SQLModel, table=True):
    """One sign-in on one device: the family of its refresh tokens."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("char_length(device) <= 200", name="device_length"),
        CheckConstraint("char_length(address) <= 64", name="address_length"),
        {"info": {"identity": True}},
    )

    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    device: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})
    address: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})  # from where it was begun
    created_at: datetime = instant(now=True)
    last_used_at: datetime = instant(now=True)
    expires_at: datetime = instant()
    ended_at: datetime | None = instant(nullable=True)


class RefreshToken(SQLModel, table=True):
    """SHA-256 of each token that was given out. A used one that comes back ends its session."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("refresh_tokens_used_at", "used_at", postgresql_where=text("used_at IS NOT NULL")),)

    digest: bytes = _digest(primary_key=True)
    session_id: UUID = Field(foreign_key="sessions.id", ondelete="CASCADE", index=True)
    created_at: datetime = instant(now=True)
    used_at: datetime | None = instant(nullable=True)


class AccessToken(SQLModel, table=True):
    """A personal access token: for programs, until it expires or is revoked."""

    __tablename__ = "access_tokens"
    __table_args__ = (
        UniqueConstraint("digest"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['tasks:read', 'tasks:write', 'account']", name="scopes_known"
        ),
        {"info": {"identity": True}},
    )

    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    name: str = Field(sa_type=Text)
    digest: bytes = _digest()
    hint: str = Field(sa_type=Text)  # its last characters: which one it is, for whoever has it
    scopes: list[str] = Field(sa_type=ARRAY(Text))
    created_at: datetime = instant(now=True)
    last_used_at: datetime | None = instant(nullable=True)
    expires_at: datetime = instant()


class Confirmation(SQLModel, table=True):
    """A token that was mailed: whoever brings it back reads that address. One of a kind; used up by being deleted."""

    __tablename__ = "confirmations"
    __table_args__ = (
        UniqueConstraint("digest"),
        CheckConstraint("purpose IN ('verify', 'change', 'reset')", name="purpose_known"),
        CheckConstraint("char_length(email) <= 254", name="email_length"),
        {"info": {"identity": True}},
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    purpose: str = Field(sa_type=Text, primary_key=True)
    digest: bytes = _digest()
    email: str = Field(sa_type=Text)
    created_at: datetime = instant(now=True)
    expires_at: datetime = instant()


class OutsideIdentity(SQLModel, table=True):
    """Somebody whom an OpenID provider vouches for, by its own name for them."""

    __tablename__ = "outside_identities"
    __table_args__ = (
        UniqueConstraint("id"),
        CheckConstraint("char_length(issuer) <= 500", name="issuer_length"),
        CheckConstraint("char_length(subject) BETWEEN 1 AND 255", name="subject_length"),
        {"info": {"identity": True}},
    )

    issuer: str = Field(sa_type=Text, primary_key=True)
    subject: str = Field(sa_type=Text, primary_key=True)
    id: UUID
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    provider: str = Field(sa_type=Text)
    email: str | None = Field(sa_type=Text)
    created_at: datetime = instant(now=True)


class SecondFactor(SQLModel, table=True):
    """The secret of an authenticator app, sealed. It counts once it is confirmed."""

    __tablename__ = "second_factors"
    __table_args__ = {"info": {"identity": True}}

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    secret: str = Field(sa_type=Text, sa_column_kwargs=INTERNAL)
    last_step: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})  # no code counts twice
    created_at: datetime = instant(now=True)
    confirmed_at: datetime | None = instant(nullable=True)


class RecoveryCode(SQLModel, table=True):
    """SHA-256 of a code in place of the authenticator app. Used up by being deleted."""

    __tablename__ = "recovery_codes"
    __table_args__ = {"info": {"identity": True, "export": False}}

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    digest: bytes = _digest(primary_key=True)
    created_at: datetime = instant(now=True)


class AuditEvent(SQLModel, table=True):
    """What happened to an account, for whoever has it. Written with what it tells of, in one statement."""

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("char_length(kind) <= 40", name="kind_length"),
        CheckConstraint("char_length(device) <= 200", name="device_length"),
        CheckConstraint("char_length(address) <= 64", name="address_length"),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)  # in the order of time: UUID version 7
    at: datetime = instant(now=True)
    kind: str = Field(sa_type=Text)
    address: str = Field(sa_type=Text)
    device: str = Field(sa_type=Text)
    detail: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})


class Throttle(SQLModel, table=True):
    """How often something was tried since a window began. Unlogged: a crash forgives, and nothing waits for it."""

    __tablename__ = "throttles"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key: bytes = Field(sa_type=LargeBinary, primary_key=True)  # a digest of what is counted, and for whom
    count: int
    until: datetime = instant()


class SigningKey(SQLModel, table=True):
    """A key of the ring, sealed: numbered from 1 in each family of algorithms."""

    __tablename__ = "signing_keys"
    __table_args__ = (CheckConstraint("algorithm IN ('HS256', 'ES256')", name="algorithm_known"),)

    algorithm: str = Field(sa_type=Text, primary_key=True)
    number: int = Field(primary_key=True)
    kid: str = Field(sa_type=Text)
    sealed: str = Field(sa_type=Text)
    created_at: datetime = instant(now=True)
    signs_from: datetime = instant()
    former_until: datetime = instant()  # until when those before it are accepted


class SyncState(SQLModel, table=True):
    """The counter that numbers a user's changes, and the lock that puts them in order."""

    __tablename__ = "sync_state"
    __table_args__ = (CheckConstraint("floor <= seq", name="floor_below_seq"), INTERNAL)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    seq: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    floor: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    epoch: UUID = Field(sa_column_kwargs={"server_default": text("gen_random_uuid()")})
