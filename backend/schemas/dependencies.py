"""Dependencies between tasks on the wire."""

from pydantic import ConfigDict, Field

from backend.schemas.scalars import Id, Wire
from backend.schemas.tasks import TaskRead


class RelatedTasks(Wire):
    items: list[TaskRead] = Field(description="In the order in which the dependencies were made.")
    next_cursor: str | None = Field(description="null at the end.")


class DependencyTransfer(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a66"}]})

    to: Id = Field(description="The task whose dependencies they become.")


class Transferred(Wire):
    moved: int = Field(
        description="How many are now those of the other task. Those that it had already are not among them.",
        examples=[3],
    )
