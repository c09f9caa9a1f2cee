"""Tasks on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool, model_validator

from backend.models import Priority
from backend.schemas.scalars import (
    Description,
    Id,
    Instant,
    NoneIsEmpty,
    NotNull,
    Position,
    Shown,
    TaskTags,
    Title,
    Wire,
)

BATCH_MOST = 1_000

EXAMPLE: dict[str, Any] = {
    "title": "Water the figs",
    "description": "The two on the balcony, and the one in the kitchen.",
    "priority": "high",
    "due_date": "2026-12-24T18:00:00Z",
    "tags": ["home", "plants"],
}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55",
    **EXAMPLE,
    "due_date": "2026-12-24T18:00:00.000000Z",
    "completed": False,
    "completed_at": None,
    "project_id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99",
    "parent_id": None,
    "position": "n00000000000007",
    "version": 7,
    "created_at": "2026-11-22T08:15:00.123456Z",
    "updated_at": "2026-11-22T08:15:00.123456Z",
}
SUBTASK_EXAMPLE: dict[str, Any] = {**READ_EXAMPLE, "parent_id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a66", "depth": 1}


class TaskCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="Brought by the client, or made by the server (UUID version 7).")
    title: Title
    description: Description | None = None
    priority: Priority = Priority.medium
    due_date: Instant | None = Field(None, description="RFC 3339 with an offset.")
    tags: Annotated[TaskTags, NoneIsEmpty] = Field(
        [],
        description="At most 20, of 1 to 50 characters. Case tells, order is kept.",
        validate_default=False,
    )
    completed: StrictBool = False
    project_id: Id | None = Field(None, description="null: the inbox. A subtask's is that of its parent.")
    parent_id: Id | None = Field(None, description="The task that it is a part of. In a batch, one before it will do.")
    position: Position | None = Field(
        None, description="Where it is in the order by hand, as a key of fractional indexing; at the end by default."
    )


class TaskPatch(Wire):
    """RFC 7396: absent leaves alone, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"completed": True, "due_date": None}]})

    title: Annotated[Title | None, NotNull] = None
    description: Description | None = None
    priority: Annotated[Priority | None, NotNull] = None
    due_date: Instant | None = None
    tags: TaskTags | None = None
    completed: Annotated[StrictBool | None, NotNull] = None
    project_id: Id | None = Field(None, description="Its subtasks go with it.")
    parent_id: Id | None = Field(None, description="Its own subtasks go with it, and all into the parent's project.")
    position: Annotated[Position | None, NotNull] = None

    def sent(self) -> dict[str, Any]:
        """What the client named, null included."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        if "tags" in values and values["tags"] is None:
            values["tags"] = []
        return values


class TaskRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    title: str
    description: str | None
    priority: Priority
    due_date: datetime | None
    tags: list[str]
    completed: bool
    completed_at: datetime | None = Field(description="When it last became completed.")
    project_id: UUID | None = Field(description="null: the inbox.")
    parent_id: UUID | None = Field(description="null: no subtask.")
    position: str = Field(description="Compared byte by byte: the order by hand. docs/structure.md.")
    version: int = Field(description="Grows with every change of yours; the ETag, in quotes.")
    created_at: datetime
    updated_at: datetime


class TaskListed(TaskRead):
    snippet: str | None = Field(
        None,
        description="With `highlight`: where the search was found. HTML, escaped, with `<mark>` around the words.",
    )


class Facet(Wire):
    value: str = Field(examples=["home"])
    count: int = Field(examples=[3])


class Facets(Wire):
    tag: list[Facet] = Field([], description="The hundred most used first, then by name.")
    priority: list[Facet] = Field([], description="All three, from high to low.")
    status: list[Facet] = Field([], description="`pending` and `completed`.")
    project: list[Facet] = Field([], description="By id, and `inbox`: the hundred with most first.")


class TaskPage(Wire):
    items: list[TaskListed]
    total: int | None = Field(description="How many the filter finds; null when not counted.")
    page: int | None = Field(description="null with a cursor.")
    limit: int
    next_cursor: str | None = Field(description="null at the end.")
    estimated: bool | None = Field(None, description="With `count=estimate`: whether `total` is an estimate.")
    facets: Facets | None = Field(None, description="With `facets`: those that were asked for.")
    included: list[TaskRead] | None = Field(
        None, description="With `include`: the others, in the order by hand. At most 1,000, the first of them."
    )
    included_all: bool | None = Field(None, description="With `include`: whether `included` has them all.")
    did_you_mean: str | None = Field(
        None, description="After a search that finds nothing: its words as they are written in other tasks of yours."
    )


class TaskEdit(Wire):
    subtasks: Literal["complete"] | None = Field(
        None, description="`complete`: its open subtasks are completed with it. Only with `completed: true`."
    )


class Subtask(TaskRead):
    model_config = ConfigDict(json_schema_extra={"examples": [SUBTASK_EXAMPLE]})

    depth: int = Field(description="1 for a part of the task itself, 2 for a part of that, and so on.")


class Subtasks(Wire):
    items: list[Subtask] = Field(description="Each followed by its own parts, in the order by hand.")
    total: int
    next_cursor: str | None = Field(description="null at the end.")


class TaskBatch(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [EXAMPLE, {"title": "Buy soil"}]}]})

    tasks: list[TaskCreate] = Field(min_length=1, max_length=BATCH_MOST)

    @model_validator(mode="after")
    def _ids_once(self) -> Self:
        first: dict[UUID, int] = {}
        for n, task in enumerate(self.tasks):
            if task.id and first.setdefault(task.id, n) != n:
                raise ValueError(f"tasks {first[task.id]} and {n} (from 0) have the same id")
        return self


class TaskItems(Wire):
    items: list[TaskRead] = Field(description="In the order given.")


Ids = Annotated[list[Id], Field(min_length=1, max_length=BATCH_MOST, description="Each counted once.")]


class TaskBatchPatch(Wire):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": [READ_EXAMPLE["id"]], "set": {"completed": True}}]}
    )

    ids: Ids
    set: Annotated[TaskPatch, Shown(minProperties=1)]

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.set.model_fields_set:
            raise ValueError("`set` names no field")
        return self


class TaskBatchDelete(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [READ_EXAMPLE["id"]]}]})

    ids: Ids


class Updated(Wire):
    updated: int = Field(examples=[1])


class Deleted(Wire):
    deleted: int = Field(examples=[1])
