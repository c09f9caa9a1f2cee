"""Tags on the wire."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from backend.schemas.scalars import Color, NotNull, Shown, Tag, Truth, Wire, no_twice

TAG: Any = Field(examples=["home"])
COLOR: Any = Field(description="null where it has none.", examples=["#3a7d44"])


def _or_absent(schema: dict[str, Any]) -> None:
    """Of a member that is left out, and has no default."""
    del schema["default"]


class TagCount(Wire):
    tag: str = TAG
    count: int = Field(description="Tasks that have it; 0 where it has only a colour.", examples=[3])
    color: str = Field("", description="Where it has one.", examples=["#3a7d44"], json_schema_extra=_or_absent)


class Tags(Wire):
    items: list[TagCount] = Field(description="Most used first, then by name.")
    next_cursor: str = Field("", description="Where there are more.", json_schema_extra=_or_absent)


class TagPatch(Wire):
    """RFC 7396: absent leaves alone, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "household", "color": "#3a7d44"}]})

    name: Annotated[Tag | None, NotNull] = None
    color: Color | None = None

    def sent(self) -> dict[str, Any]:
        """What the client named, null included."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class TagRename(Wire):
    merge: Truth = Field(False, description="Whether a new name that is another tag's already makes the two one.")


class TagMerge(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["house", "Home"], "into": "home"}]})

    tags: Annotated[
        list[Tag],
        Field(min_length=1, max_length=20, description="That become one."),
        AfterValidator(no_twice),
        Shown(uniqueItems=True),
    ]
    into: Tag = Field(description="The name of the one: that of another tag, of one of them, or a new one.")


class TagChanged(Wire):
    tag: str = TAG
    color: str | None = COLOR
    updated: int = Field(description="Tasks that were changed, those in the trash too.", examples=[3])
