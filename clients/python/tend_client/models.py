"""What the API answers with, as it comes: times are RFC 3339 in UTC, ids are UUIDs as text."""

from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

Item = TypeVar("Item")
EntityName = Literal["tasks", "projects", "comments", "filters", "dependencies", "tags"]
Json = dict[str, Any]


class Account(TypedDict):
    id: str
    email: str
    name: str
    timezone: str
    language: str
    is_verified: bool
    created_at: str


class Row(TypedDict):
    id: str
    version: int
    created_at: str
    updated_at: str


class Task(Row):
    title: str
    description: str | None
    priority: Literal["low", "medium", "high"]
    due_date: str | None
    tags: list[str]
    completed: bool
    completed_at: str | None
    project_id: str | None
    parent_id: str | None
    position: str
    snippet: NotRequired[str | None]


class Project(Row):
    name: str
    description: str | None
    color: str | None
    favorite: bool
    archived: bool
    parent_id: str | None
    depth: int
    position: str
    open_tasks: NotRequired[int]


class Comment(Row):
    task_id: str
    body: str


class Filter(Row):
    name: str
    filter: str
    sort: str | None
    order: Literal["asc", "desc"] | None


class Page(TypedDict, Generic[Item]):
    """`total` and `page` of a listing of tasks; other lists have none."""

    items: list[Item]
    next_cursor: NotRequired[str | None]
    total: NotRequired[int | None]


class Operation(TypedDict):
    n: int
    op: Literal["create", "update", "delete", "complete"]
    entity: EntityName
    id: str
    base: int
    at: int
    set: Json


class Result(TypedDict):
    n: int
    status: Literal["applied", "superseded", "rejected"]
    error: Json | None


class Change(TypedDict):
    entity: EntityName
    id: str
    version: int
    deleted: bool
    row: Json | None


class SyncAnswer(TypedDict):
    changes_applied: int
    results: list[Result]
    conflicts: list[Json]
    changes: list[Change]
    cursor: str
    has_more: bool
    reset: bool
    last_n: int
    server_time: str
