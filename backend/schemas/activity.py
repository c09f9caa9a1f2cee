"""Activity on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.scalars import Wire

READ_EXAMPLE: dict[str, Any] = {
    "task_id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55",
    "title": "Water the figs",
    "version": 8,
    "at": "2026-11-22T08:17:31.504321Z",
    "kind": "changed",
    "changes": {"due_date": [None, "2026-12-24T18:00:00.000000Z"], "completed": [True, False]},
    "by": {"kind": "session", "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99", "name": "Ada's phone"},
}


class ActivityBy(Wire):
    kind: Literal["session", "token"] | None = Field(
        description="A device that is signed in, or a personal access token; null: a command of the server's operator."
    )
    id: UUID | None
    name: str | None = Field(
        description="The device's or the token's, as long as the session or token is kept. null for tokens without the "
        "scope `account`."
    )


class ActivityRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    task_id: UUID
    title: str | None = Field(description="As it is now; null when the task is no longer kept.")
    version: int = Field(description="That the change gave to the task.")
    at: datetime
    kind: Literal["created", "changed", "deleted", "restored"]
    changes: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]] = Field(
        description="`[from, to]` for each field that became another, in the form that it has in a task."
    )
    by: ActivityBy


class ActivityPage(Wire):
    items: list[ActivityRead] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="null at the end.")
