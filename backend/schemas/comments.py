"""Comments on the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.filters import Direction
from backend.schemas.lists import Walked
from backend.schemas.scalars import Characters, Filled, Id, NotNull, Wire

EXAMPLE: dict[str, Any] = {"body": "The one in the kitchen has new leaves."}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a88",
    "task_id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55",
    **EXAMPLE,
    "version": 9,
    "created_at": "2026-11-22T08:15:00.123456Z",
    "updated_at": "2026-11-22T08:15:00.123456Z",
}

Body = Annotated[Filled, Characters(1, 10_000)]


class CommentCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="Brought by the client, or made by the server (UUID version 7).")
    body: Body


class CommentPatch(Wire):
    """RFC 7396: absent leaves alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    body: Annotated[Body | None, NotNull] = None

    def sent(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class CommentRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    task_id: UUID
    body: str
    version: int = Field(description="Grows with every change of yours; the ETag, in quotes.")
    created_at: datetime
    updated_at: datetime


class CommentList(Walked):
    order: Direction = Field("asc", description="`asc` is oldest first, `desc` newest first.")


class Comments(Wire):
    items: list[CommentRead] = Field(description="In the order in which they were written, or against it.")
    next_cursor: str | None = Field(description="null at the end.")
