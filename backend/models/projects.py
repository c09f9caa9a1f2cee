"""Projects: what tasks are put into."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, SmallInteger, String, Text, text
from sqlalchemy import UniqueConstraint as Unique
from sqlmodel import Field, SQLModel

from backend.models.columns import (
    COLOR,
    INTERNAL,
    LIVING,
    PLACE,
    SCRUBBED,
    TRASH,
    TRASHED,
    clocks,
    created_version,
    instant,
    scrubbed,
)

DEEPEST: Final = 4
"""How many projects a project may be in, one inside the other."""
DEPTH_FOLLOWS: Final = (
    "CASE WHEN deleted_at IS NULL THEN (parent_id IS NULL) = (parent_depth IS NULL) "
    "AND depth = coalesce(parent_depth + 1, 0) ELSE parent_depth IS NULL END"
)
"""In the trash it follows nobody: its parent may go deeper or higher meanwhile."""


class Project(SQLModel, table=True):
    """The parent is referred to with its depth, so that the database keeps the limit, and no circle can be."""

    __tablename__ = "projects"
    __table_args__ = (
        Unique("user_id", "version"),
        Unique("user_id", "id", "depth", name="projects_depth"),
        ForeignKeyConstraint(
            ["user_id", "parent_id", "parent_depth"],
            ["projects.user_id", "projects.id", "projects.depth"],
            name="projects_depth_fkey",
            ondelete="NO ACTION",
        ),
        ForeignKeyConstraint(
            ["user_id", "parent_id"],
            ["projects.user_id", "projects.id"],
            name="projects_parent_fkey",
            ondelete="NO ACTION",
        ),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint("char_length(name_key) <= 200", name="name_key_length"),
        CheckConstraint("char_length(description) <= 10000", name="description_length"),
        CheckConstraint(COLOR, name="color_sound"),
        CheckConstraint(PLACE, name="position_sound"),
        CheckConstraint(f"depth BETWEEN 0 AND {DEEPEST}", name="depth_limit"),
        CheckConstraint(DEPTH_FOLLOWS, name="depth_follows"),
        CheckConstraint("deleted_at IS NOT NULL OR num_nonnulls(deleted_with, scrubbed_at) = 0", name="trash_sound"),
        # A name is free again when its project was deleted.
        Index("projects_name", "user_id", "name", unique=True, postgresql_where=LIVING),
        Index("projects_position", "user_id", "position", "id", postgresql_where=LIVING),
        Index("projects_named", "user_id", "name_key", "id", postgresql_where=LIVING),
        Index("projects_parent", "user_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("projects_trash", "user_id", "deleted_at", "id", postgresql_where=TRASHED),
        Index("projects_tombstones", "user_id", "deleted_at", postgresql_where=SCRUBBED),
        {
            "info": {
                "groups": {
                    "name": ("name",),
                    "description": ("description",),
                    "color": ("color",),
                    "favorite": ("favorite",),
                    "archived": ("archived",),
                    "parent": ("parent_id",),
                    "position": ("position",),
                    TRASH: ("deleted_at",),
                }
            }
        },
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    name: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    name_key: str = Field(
        sa_type=String(collation="C"), sa_column_kwargs=scrubbed("-", export=False)
    )  # rules.text.sort_key(name)
    description: str | None = Field(sa_type=Text, sa_column_kwargs=scrubbed(None))
    color: str | None = Field(sa_type=Text, sa_column_kwargs=scrubbed(None))
    favorite: bool = Field(sa_column_kwargs={"server_default": text("false")})
    archived: bool = Field(sa_column_kwargs={"server_default": text("false")})
    parent_id: UUID | None
    parent_depth: int | None = Field(sa_type=SmallInteger, sa_column_kwargs=INTERNAL)
    depth: int = Field(sa_type=SmallInteger, sa_column_kwargs={"server_default": text("0")})
    position: str = Field(sa_type=String(collation="C"), sa_column_kwargs={"info": {"placed": True}})
    clocks: dict[str, Any] = clocks()
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    deleted_with: UUID | None
    scrubbed_at: datetime | None = instant(nullable=True)
