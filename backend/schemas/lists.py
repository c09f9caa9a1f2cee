"""What lists have in common: their pages, and a place in an order by hand."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from backend.schemas.scalars import Characters, FromDigits, Id, Text, Wire


class Walked(Wire):
    """A list that is walked by cursor."""

    limit: Annotated[int, Field(ge=1, le=200), FromDigits] = Field(100, description="How many of them.")
    cursor: Annotated[Text, Characters(1, 2_000)] | None = Field(
        None, description="`next_cursor` of the answer before, with the same parameters."
    )


class Move(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"after": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a56"}]})

    after: Id | None = Field(None, description="What it comes right behind.")
    before: Id | None = Field(None, description="Or what it comes right before.")

    @model_validator(mode="after")
    def _to_one_place(self) -> Self:
        if (self.after is None) == (self.before is None):
            raise ValueError("name one: `after` or `before`")
        return self
