"""What became of a user's rows, and by whom: written by the door, with the change itself."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.models.columns import instant


class Activity(SQLModel, table=True):
    """One change of one task. The number that it took from the door is its own, and no other change's.

    Nothing refers to tasks: the row is written in the statement that writes the task and goes with its contents, and
    a foreign key would look for the task once more for each row of a batch. Nothing refers to sessions and tokens
    either: they go away sooner.
    """

    __tablename__ = "activity"
    __table_args__ = (
        CheckConstraint("char_length(kind) <= 20", name="kind_length"),
        CheckConstraint("num_nonnulls(session_id, token_id) <= 1", name="by_one"),
        Index("activity_task", "user_id", "task_id", "version"),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    version: int = Field(sa_type=BigInteger, primary_key=True)
    task_id: UUID
    at: datetime = instant(now=True)
    kind: str = Field(sa_type=Text)
    # {field: [from, to]}, of the fields that changed.
    changes: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")})
    session_id: UUID | None  # both null: a command of the operator's, or a script
    token_id: UUID | None
