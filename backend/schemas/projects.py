"""Projects on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool

from backend.schemas.lists import Walked
from backend.schemas.scalars import (
    Color,
    Description,
    Id,
    Name,
    NotNull,
    Position,
    Truth,
    Wire,
)

EXAMPLE: dict[str, Any] = {"name": "Balcony", "color": "#2e7d32", "favorite": True}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99",
    "name": "Balcony",
    "description": None,
    "color": "#2e7d32",
    "favorite": True,
    "archived": False,
    "parent_id": None,
    "depth": 0,
    "position": "n00000000000006",
    "version": 6,
    "created_at": "2026-11-22T08:14:00.123456Z",
    "updated_at": "2026-11-22T08:14:00.123456Z",
}


class ProjectCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="Brought by the client, or made by the server (UUID version 7).")
    name: Name = Field(description="Another one than those of your other projects. Case tells.")
    description: Description | None = None
    color: Color | None = None
    favorite: StrictBool = False
    archived: StrictBool = False
    parent_id: Id | None = Field(
        None, description="The project that it is in, and that perhaps in another: five levels in all."
    )
    position: Position | None = Field(
        None, description="Where it is in the order by hand, as a key of fractional indexing; at the end by default."
    )


class ProjectPatch(Wire):
    """RFC 7396: absent leaves alone, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"archived": True, "color": None}]})

    name: Annotated[Name | None, NotNull] = None
    description: Description | None = None
    color: Color | None = None
    favorite: Annotated[StrictBool | None, NotNull] = None
    archived: Annotated[StrictBool | None, NotNull] = None
    parent_id: Id | None = Field(None, description="The projects in it go with it.")
    position: Annotated[Position | None, NotNull] = None

    def sent(self) -> dict[str, Any]:
        """What the client named, null included."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ProjectRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    name: str
    description: str | None
    color: str | None
    favorite: bool
    archived: bool
    parent_id: UUID | None = Field(description="null: in no other.")
    depth: int = Field(description="How many projects it is in, one inside the other.")
    position: str = Field(description="Compared byte by byte: the order by hand.")
    version: int = Field(description="Grows with every change of yours; the ETag, in quotes.")
    created_at: datetime
    updated_at: datetime


class ProjectListed(ProjectRead):
    model_config = ConfigDict(json_schema_extra={"examples": [{**READ_EXAMPLE, "open_tasks": 3}]})

    open_tasks: int = Field(description="How many of its own tasks, subtasks included, are not completed.")


class ProjectList(Walked):
    archived: Truth | None = Field(None, description="Only those that are archived, or that are not.")
    favorite: Truth | None = Field(None, description="Only the favourites, or the others.")
    sort: Literal["position", "name"] = Field(
        "position",
        description="`position` (the order by hand) or `name` (A first, without regard to case and accents).",
    )


class Projects(Wire):
    items: list[ProjectListed]
    next_cursor: str | None = Field(description="null at the end.")


class ProjectDelete(Wire):
    tasks: Literal["trash", "inbox"] | None = Field(
        None,
        description="What becomes of the tasks in it and in the projects in it: `trash` takes them along, `inbox` "
        "takes them out. It must be said when there are any.",
    )
