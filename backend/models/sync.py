"""Devices that synchronise, and what was answered to their operations (docs/sync.md)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.models.columns import INTERNAL, instant


class SyncClient(SQLModel, table=True):
    """One store of one device, by the name that it gave itself. Kept as long as the account: operations are numbered
    without gaps, and a number that was forgotten would be done again.
    """

    __tablename__ = "sync_clients"
    __table_args__ = (CheckConstraint("last_n > 0", name="last_n_positive"),)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    client_id: UUID = Field(primary_key=True)
    last_n: int = Field(sa_type=BigInteger)  # of the last operation that was done or refused
    last_seen_at: datetime = instant(now=True)


class SyncReceipt(SQLModel, table=True):
    """What became of one operation, until its client says that it has heard."""

    __tablename__ = "sync_receipts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "client_id"],
            ["sync_clients.user_id", "sync_clients.client_id"],
            name="sync_receipts_client_fkey",
            ondelete="NO ACTION",
        ),
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        INTERNAL,
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    client_id: UUID = Field(primary_key=True)
    n: int = Field(sa_type=BigInteger, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)  # SHA-256 of the operation
    result: dict[str, Any] = Field(sa_type=JSONB)
