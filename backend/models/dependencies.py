"""Which task is to be done before which."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.models.columns import LIVING, around, created_version, instant, table
from backend.models.tasks import VERSION_TRIGGER


class Dependency(SQLModel, table=True):
    """`task_id` waits for `depends_on_id`."""

    __tablename__ = "dependencies"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "task_id"], ["tasks.user_id", "tasks.id"], ondelete="NO ACTION"),
        ForeignKeyConstraint(["user_id", "depends_on_id"], ["tasks.user_id", "tasks.id"], ondelete="NO ACTION"),
        UniqueConstraint("user_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("task_id <> depends_on_id", name="of_two_tasks"),
        Index("dependencies_once", "user_id", "task_id", "depends_on_id", unique=True, postgresql_where=LIVING),
        # Not of living ones alone, for the foreign keys: they ask for deleted ones too, and would read all there are
        # of the user for each task that goes away for good, as all do at the end of an account.
        Index("dependencies_turned", "user_id", "depends_on_id", "task_id"),
        Index("dependencies_task", "user_id", "task_id"),
        Index("dependencies_tombstones", "user_id", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    task_id: UUID
    depends_on_id: UUID
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    deleted_with: UUID | None  # the task with which it went into the trash, and comes back


around(table(Dependency), "after_create", VERSION_TRIGGER.replace("tasks", "dependencies"))
