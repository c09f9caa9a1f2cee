"""Synchronisation on the wire (docs/sync.md)."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from backend.schemas.scalars import Characters, Id, Text, Wire

OPERATIONS_MOST = 100
ROWS_MOST = 500
NUMBER_MOST = 2**53 - 1
"""The largest whole number that JSON's readers agree on (RFC 7493)."""

EntityName = Literal["tasks", "projects", "comments", "filters", "dependencies", "tags"]
Number = Annotated[int, Field(strict=True, ge=0, le=NUMBER_MOST)]

EXAMPLE: dict[str, Any] = {
    "client_id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2b01",
    "ack": 0,
    "cursor": None,
    "operations": [
        {
            "n": 1,
            "op": "create",
            "entity": "tasks",
            "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55",
            "at": 1_795_335_300_000_000,
            "set": {"title": "Water the figs"},
        }
    ],
}


class Operation(Wire):
    n: Annotated[Number, Field(ge=1)] = Field(
        description="1, 2, 3 …: counted by the client, without gaps, in the order in which it made them."
    )
    op: Literal["create", "update", "delete", "complete"]
    entity: EntityName
    id: Id = Field(description="Of the row; made by the client where it is created.")
    base: Number = Field(0, description="The version of the row that the client had seen; 0 for none.")
    at: Number = Field(
        description="When it was made, by the client's hybrid logical clock: microseconds since 1970, or one more than "
        "the last where time has not moved."
    )
    set: dict[str, Any] = Field(
        {},
        description="The fields, as the POST or PATCH of such a thing has them. To delete a project: `tasks`, which is "
        "`trash` by default, or `inbox`. To complete a task: `due_date`, that of the occurrence that was completed.",
    )


class SyncRequest(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    client_id: Id = Field(description="Made up by the client once for each of its stores.")
    ack: Number = Field(0, description="The results of the operations up to this one have been stored by the client.")
    cursor: Annotated[Text, Characters(1, 500)] | None = Field(
        None, description="Of the last answer; null for everything."
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=ROWS_MOST)] = Field(
        ROWS_MOST, description="How many changes to answer with."
    )
    operations: list[Operation] = Field([], max_length=OPERATIONS_MOST, description="In the order of their numbers.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        numbers = [each.n for each in self.operations]
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise ValueError("the operations' numbers do not follow one another")
        return self


class Rejection(Wire):
    type: str = Field(description="`gone`, `conflict` or `invalid`.", examples=["gone"])
    detail: str = Field(examples=["There is no such task."])
    errors: list[dict[str, Any]] = Field([], description="Where, as in a problem.")
    path: list[dict[str, Any]] = Field(
        [], description="Of dependencies that would lead in a circle: id and title of each task, as in a problem."
    )


class Result(Wire):
    n: int
    status: Literal["applied", "superseded", "rejected"] = Field(
        description="`superseded`: all that it changes was changed meanwhile, and that holds. All three are final."
    )
    error: Rejection | None = Field(description="Why it was rejected.")


class Conflict(Wire):
    n: int = Field(description="Of the operation.")
    entity: EntityName
    id: UUID
    group: str = Field(description="Of the fields that hold or fall together.", examples=["title"])
    winner: Literal["operation", "server"] = Field(description="Whose value holds.")
    lost: dict[str, Any] = Field(description="The fields with the values that do not.", examples=[{"title": "Figs"}])


class Change(Wire):
    entity: EntityName
    id: UUID
    version: int
    deleted: bool
    row: dict[str, Any] | None = Field(description="As a GET of it answers; null when it is deleted.")


class SyncAnswer(Wire):
    changes_applied: int = Field(description="How many of the operations changed something, now or when first sent.")
    results: list[Result] = Field(description="One for each operation, in their order.")
    conflicts: list[Conflict] = Field(description="What was changed on both sides. What holds is among the changes.")
    changes: list[Change] = Field(description="In the order of their versions.")
    cursor: str = Field(description="For the next request, once this page is stored.")
    has_more: bool = Field(description="Whether to ask again at once.")
    reset: bool = Field(
        description="Whether everything is told from the beginning: the client forgets the rows it has, and keeps its "
        "operations."
    )
    last_n: int = Field(description="Up to which operation all are done or rejected.")
    server_time: datetime
