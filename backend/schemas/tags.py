"""Tags on the wire."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from backend.schemas.scalars import Color, NotNull, Shown, Tag, Truth, Wire, no_twice

TAG: Any = Field(examples=["home"])
COLOR: Any = Field(description="null where it has none.", examples=["#3a7d44"])


class TagCount(Wire):
    tag: str = TAG
    count: int = Field(description="Tasks that have it; 0 where it has only a colour.", examples=[3])
    color: str | None = COLOR


class Tags(Wire):
    items: list[TagCount] = Field(description="Most used first, then by name.")


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
