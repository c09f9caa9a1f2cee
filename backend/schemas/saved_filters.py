"""Saved filters on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from backend.schemas.filters import Direction, FilterText
from backend.schemas.scalars import Id, Name, NotNull, Wire

SavedSort = Literal[
    "created", "updated", "title", "priority", "due_date", "position"
]  # `relevance` is that of a search

EXAMPLE: dict[str, Any] = {"name": "Due this week", "filter": "is:pending due<=+1w", "sort": "due_date"}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a77",
    **EXAMPLE,
    "order": None,
    "version": 8,
    "created_at": "2026-11-22T08:15:00.123456Z",
    "updated_at": "2026-11-22T08:15:00.123456Z",
}


class SavedFilterCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="Brought by the client, or made by the server (UUID version 7).")
    name: Name = Field(description="Another one than those of your other filters. Case tells.")
    filter: FilterText = Field(description="In the filter language. `today` in it is the day on which it is asked.")
    sort: SavedSort | None = Field(None, description="That of a listing that names no other.")
    order: Direction | None = Field(
        None, description="Turns the sort's own direction; without a sort, that of `created`."
    )


class SavedFilterPatch(Wire):
    """RFC 7396: absent leaves alone, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Due soon", "sort": None}]})

    name: Annotated[Name | None, NotNull] = None
    filter: Annotated[FilterText | None, NotNull] = None
    sort: SavedSort | None = None
    order: Direction | None = None

    def sent(self) -> dict[str, Any]:
        """What the client named, null included."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class SavedFilterRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    name: str
    filter: str
    sort: SavedSort | None
    order: Direction | None
    version: int = Field(description="Grows with every change of yours; the ETag, in quotes.")
    created_at: datetime
    updated_at: datetime


class SavedFilters(Wire):
    items: list[SavedFilterRead] = Field(description="By name.")
    next_cursor: str | None = Field(description="null at the end.")
