"""What is written about a task, beside it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field, SQLModel

from backend.models.columns import (
    INTERNAL,
    LIVING,
    SCRUBBED,
    TRASH,
    TRASHED,
    around,
    clocks,
    created_version,
    instant,
    scrubbed,
    table,
)
from backend.models.tasks import VERSION_TRIGGER

# Without the '.' that a task's has: a search that demands no word asks for it, and so never finds a comment.
SEARCH_VECTOR = "setweight(to_tsvector(search_config(language), search_text(body)), 'D')"


class Comment(SQLModel, table=True):
    __tablename__ = "comments"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "task_id"], ["tasks.user_id", "tasks.id"], ondelete="NO ACTION"),
        UniqueConstraint("user_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("char_length(body) BETWEEN 1 AND 10000", name="body_length"),
        CheckConstraint("deleted_at IS NOT NULL OR num_nonnulls(deleted_with, scrubbed_at) = 0", name="trash_sound"),
        # A task's, as they are listed. With those in the trash, which the foreign key looks at too.
        Index("comments_task", "user_id", "task_id", "created_at", "id"),
        Index("comments_trash", "user_id", "deleted_at", "id", postgresql_where=TRASHED),
        Index("comments_tombstones", "user_id", "deleted_at", postgresql_where=SCRUBBED),
        # As tasks_search, but nothing waits in a list that every search of everybody would have to read: comments
        # are written one by one, and 1,000 of them in the list made a search that finds nothing twice as slow.
        Index(
            "comments_search",
            text("(user_id::text)"),
            "search",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            postgresql_where=LIVING,
        ),
        {"info": {"groups": {"body": ("body",), TRASH: ("deleted_at",)}}},
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    task_id: UUID
    body: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    language: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "en"})
    clocks: dict[str, Any] = clocks()
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    deleted_with: UUID | None  # the task or project that it went into the trash with, and comes back with
    scrubbed_at: datetime | None = instant(nullable=True)
    search: Any = Field(sa_column=Column(TSVECTOR, Computed(SEARCH_VECTOR, persisted=True), nullable=True, **INTERNAL))


around(table(Comment), "after_create", VERSION_TRIGGER.replace("tasks", "comments"))
