"""What a user keeps about a tag beside its name, which stands in the tasks themselves."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from backend.models.columns import COLOR, LIVING, SCRUBBED, around, clocks, created_version, instant, scrubbed, table
from backend.models.tasks import VERSION_TRIGGER


class Tag(SQLModel, table=True):
    """A tag that has a colour. Most have none, and no row."""

    __tablename__ = "tags"
    __table_args__ = (
        UniqueConstraint("user_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 50", name="name_length"),
        CheckConstraint(COLOR, name="color_sound"),
        Index("tags_name", "user_id", "name", unique=True, postgresql_where=LIVING),
        Index("tags_tombstones", "user_id", "deleted_at", postgresql_where=SCRUBBED),
        {"info": {"groups": {"name": ("name",), "color": ("color",)}}},
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    name: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    color: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("#000000"))
    clocks: dict[str, Any] = clocks()
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    scrubbed_at: datetime | None = instant(nullable=True)


around(table(Tag), "after_create", VERSION_TRIGGER.replace("tasks", "tags"))
