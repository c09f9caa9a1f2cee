"""What was answered to requests that carry an `Idempotency-Key`, so that a second one is answered the same."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, SmallInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.models.columns import INTERNAL, instant


class IdempotencyKey(SQLModel, table=True):
    """Copies of answers, for a while: not exported, since what they tell of is.

    No version: it is no change that another device would have to hear of.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        CheckConstraint("status BETWEEN 200 AND 299", name="status_good"),
        # By age, whoever's they are: what is over goes away for everybody at once (services/housekeeping.py).
        Index("idempotency_keys_created", "created_at"),
        INTERNAL,
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    key: str = Field(sa_type=String(collation="C"), primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)  # SHA-256 of the request
    status: int = Field(sa_type=SmallInteger)
    headers: list[Any] = Field(sa_type=JSONB)  # pairs of a name and a value
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = instant(now=True)
