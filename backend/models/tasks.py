"""A user's data: tasks, and the filters that are kept for them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Enum,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlmodel import Field, SQLModel

from backend.models.columns import (
    INTERNAL,
    LIVING,
    PLACE,
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
from backend.models.projects import Project
from backend.rules import languages


class Priority(StrEnum):
    """Falls from high to low when sorted in descending order: the database's enum has the same order."""

    low = "low"
    medium = "medium"
    high = "high"


SEARCH_VECTOR = (
    # '.' matches no query: it keeps a phrase from reaching from the title into the tags.
    "setweight(to_tsvector(search_config(language), search_text(title)), 'A') || '''.''\\:99'::tsvector || "
    "setweight(to_tsvector(search_config(language), search_text(tags::text)::jsonb), 'B') || '''.''\\:99'::tsvector || "
    "setweight(to_tsvector(search_config(language), search_text(coalesce(description, ''))), 'C')"
)
TAGS_ARE_SOUND = """jsonb_typeof(tags) = 'array' AND jsonb_array_length(tags) <= 20 AND NOT jsonb_path_exists(tags,
 'strict $[*] ? (@.type() != "string" || !(@ like_regex "^.{1,50}$" flag "s"))')"""


PLACE_OF = """
CREATE FUNCTION place_of("position" text, created_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce("position", 'm' || lpad(to_hex(greatest(0,
    (extract(epoch FROM created_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint)), 13, '0'))
"""
"""Before all that the door places, which begin with n (door.py), and in the order in which they were made."""
PLACED_AT = 'place_of("position", created_at)'  # in the column's collation, "C"


class Task(SQLModel, table=True):
    __tablename__ = "tasks"
    __table_args__ = (
        # Sorted by last change, and the feed of changes. No other number is ever reused.
        UniqueConstraint("user_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("char_length(title) BETWEEN 1 AND 200", name="title_length"),
        CheckConstraint("char_length(title_key) <= 200", name="title_key_length"),
        CheckConstraint("char_length(description) <= 10000", name="description_length"),
        CheckConstraint("completed = (completed_at IS NOT NULL)", name="completed_with_time"),
        CheckConstraint(
            "due_date BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'",
            name="due_date_range",
        ),
        CheckConstraint(TAGS_ARE_SOUND, name="tags_sound"),
        CheckConstraint(PLACE, name="position_sound"),
        CheckConstraint("parent_id <> id", name="parent_is_another"),
        CheckConstraint("deleted_at IS NOT NULL OR num_nonnulls(deleted_with, scrubbed_at) = 0", name="trash_sound"),
        ForeignKeyConstraint(
            ["user_id", "project_id"],
            ["projects.user_id", "projects.id"],
            name="tasks_project_fkey",
            ondelete="NO ACTION",
        ),
        ForeignKeyConstraint(
            ["user_id", "parent_id"], ["tasks.user_id", "tasks.id"], name="tasks_parent_fkey", ondelete="NO ACTION"
        ),
        # The default order. The included columns let the totals of most filters come from the index alone.
        Index(
            "tasks_created",
            "user_id",
            "created_at",
            "id",
            postgresql_include=["completed", "priority", "due_date"],
            postgresql_where=LIVING,
        ),
        Index("tasks_title", "user_id", "title_key", "id", postgresql_where=LIVING),
        # The order by priority, and the filter.
        Index("tasks_priority", "user_id", "priority", "id", postgresql_where=LIVING),
        # Soonest first with none last, and every filter on the due date.
        Index("tasks_due", "user_id", text("coalesce(due_date, 'infinity')"), "id", postgresql_where=LIVING),
        # Latest first with none last: the same order turned would put none first.
        Index(
            "tasks_due_falling",
            "user_id",
            text("coalesce(due_date, '-infinity')"),
            "id",
            postgresql_where=LIVING,
        ),
        # By hand.
        Index("tasks_position", "user_id", text(PLACED_AT), "id", postgresql_where=LIVING),
        # Of those in the trash too, for the foreign keys. The counts of open tasks come from the index alone.
        Index(
            "tasks_project",
            "user_id",
            "project_id",
            "id",
            postgresql_include=["completed", "deleted_at"],
            postgresql_where=text("project_id IS NOT NULL"),
        ),
        Index("tasks_parent", "user_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("tasks_trash", "user_id", "deleted_at", "id", postgresql_where=TRASHED),
        Index("tasks_tombstones", "user_id", "deleted_at", postgresql_where=SCRUBBED),
        # A tag of one user is a key of its own: finding it costs what is found, not what everybody has tagged so.
        Index(
            "tasks_tags",
            text("jsonb_set('{}', ARRAY[user_id::text], tags) jsonb_path_ops"),
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        ),
        # Fenced by user_id, a search costs what the user has, not what everybody has (btree_gin). What is new waits
        # in a list until there is a megabyte of it: a thousand tasks in one statement take half the time.
        Index(
            "tasks_search",
            text("(user_id::text)"),  # as no other index has it: see services/task_criteria.py
            "search",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "on", "gin_pending_list_limit": 1024},
        ),
        # Whose changes the door writes down; what it makes of others (sort keys, times) is not among them.
        {
            "info": {
                "activity": (
                    "title",
                    "description",
                    "priority",
                    "due_date",
                    "tags",
                    "completed",
                    "project_id",
                    "parent_id",
                ),
                "groups": {
                    "title": ("title",),
                    "description": ("description",),
                    "priority": ("priority",),
                    "due_date": ("due_date",),
                    "tags": ("tags",),
                    "completed": ("completed",),
                    "place": ("project_id", "parent_id"),  # a part is in the project of what it is a part of
                    "position": ("position",),
                    TRASH: ("deleted_at",),
                },
            }
        },
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    title: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    title_key: str = Field(
        sa_type=String(collation="C"), sa_column_kwargs=scrubbed("-", export=False)
    )  # rules.text.sort_key(title)
    description: str | None = Field(sa_type=Text, sa_column_kwargs=scrubbed(None))
    priority: Priority = Field(
        sa_type=Enum(Priority, name="priority"),
        sa_column_kwargs={"server_default": "medium"},
    )
    due_date: datetime | None = instant(nullable=True, **scrubbed(None))
    tags: list[str] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'"), **scrubbed([])})
    completed: bool = Field(sa_column_kwargs={"server_default": text("false")})
    completed_at: datetime | None = instant(nullable=True, info={"when": "completed"})
    project_id: UUID | None  # none: the inbox
    parent_id: UUID | None
    # None: from a release that knew no order by hand. It is where `place_of` says.
    position: str | None = Field(sa_type=String(collation="C"), sa_column_kwargs={"info": {"placed": True}})
    language: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "en"})
    clocks: dict[str, Any] = clocks()
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    deleted_with: UUID | None  # the task or project that took it along
    scrubbed_at: datetime | None = instant(nullable=True)  # what it said is gone, and only the tombstone left
    search: Any = Field(sa_column=Column(TSVECTOR, Computed(SEARCH_VECTOR, persisted=True), nullable=True, **INTERNAL))


class SavedFilter(SQLModel, table=True):
    """A text of the filter language under a name, read anew whenever it is asked for."""

    __tablename__ = "filters"
    __table_args__ = (
        UniqueConstraint("user_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint("char_length(name_key) <= 200", name="name_key_length"),
        CheckConstraint("char_length(filter) BETWEEN 1 AND 1000", name="filter_length"),
        CheckConstraint(
            "sort IN ('created', 'updated', 'title', 'priority', 'due_date', 'position')", name="sort_known"
        ),
        CheckConstraint("\"order\" IN ('asc', 'desc')", name="order_known"),
        # A name is free again when its filter was deleted.
        Index("filters_name", "user_id", "name", unique=True, postgresql_where=LIVING),
        Index("filters_listed", "user_id", "name_key", "id", postgresql_where=LIVING),
        Index("filters_tombstones", "user_id", "deleted_at", postgresql_where=SCRUBBED),
        {"info": {"groups": {"name": ("name",), "filter": ("filter",), "sort": ("sort", "order")}}},
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    created_version: int | None = created_version()
    name: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    name_key: str = Field(
        sa_type=String(collation="C"), sa_column_kwargs=scrubbed("-", export=False)
    )  # rules.text.sort_key(name)
    filter: str = Field(sa_type=Text, sa_column_kwargs=scrubbed("-"))
    sort: str | None = Field(sa_type=Text)
    order: str | None = Field(sa_type=Text)
    clocks: dict[str, Any] = clocks()
    created_at: datetime = instant(now=True)
    updated_at: datetime = instant(now=True)
    deleted_at: datetime | None = instant(nullable=True)
    scrubbed_at: datetime | None = instant(nullable=True)


VERSION_GROWS = """
CREATE FUNCTION version_must_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'version % of % does not follow %', new.version, tg_table_name, old.version;
END $$
"""
# AFTER: a BEFORE trigger would make Postgres compute the search vector anew at every tick of a box.
VERSION_TRIGGER = """
CREATE TRIGGER tasks_version_grows AFTER UPDATE ON tasks FOR EACH ROW
WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()
"""


around(
    SQLModel.metadata,
    "before_create",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    "CREATE EXTENSION IF NOT EXISTS unaccent",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    languages.search_configurations(),
    languages.SEARCH_TEXT,
    VERSION_GROWS,
    PLACE_OF,
)
around(table(Task), "after_create", VERSION_TRIGGER)
around(table(SavedFilter), "after_create", VERSION_TRIGGER.replace("tasks", "filters"))
around(table(Project), "after_create", VERSION_TRIGGER.replace("tasks", "projects"))
