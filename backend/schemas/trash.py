"""The trash on the wire."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.lists import Walked
from backend.schemas.scalars import Id, Wire

EXAMPLE: dict[str, Any] = {
    "kind": "task",
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55",
    "title": "Water the figs",
    "deleted_at": "2026-11-22T08:15:00.123456Z",
    "ends_at": "2026-12-22T08:15:00.123456Z",
    "contains": 2,
}


class TrashList(Walked):
    within: Id | None = Field(
        None, description="What comes back with this task or project, in place of what was deleted by itself."
    )


class Trashed(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    kind: Literal["task", "project"]
    id: UUID
    title: str = Field(description="Of a project, its name.")
    deleted_at: datetime
    ends_at: datetime = Field(description="When it is gone for good.")
    contains: int = Field(description="How many tasks and projects come back with it, or go for good.")


class Trash(Wire):
    items: list[Trashed] = Field(description="The last that was deleted first.")
    next_cursor: str | None = Field(description="null at the end.")
