"""Types of single values on the wire.

Pydantic's lax mode takes `1700000000` for a date, `urn:uuid:…` for a UUID and `"1"` for a number, and its
strict mode refuses every date in JSON: so these are ours.
"""

import re
from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from backend.rules import days, order
from backend.security import passwords

MOST_UNKNOWN: Final = 20
_NO_NUL: Final = r"^[^\x00]*$"
_NOT_BLANK: Final = r"^[^\x00]*[^\x00\x1c-\x1f\s][^\x00]*$"  # \x1c to \x1f are spaces to Python, and not to ECMA-262
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{2}|simple", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,9}", re.ASCII)
_COLOR: Final = "#[0-9A-Fa-f]{6}"


class Wire(BaseModel):
    """Unknown fields are refused: a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _not_flooded(cls, given: Any) -> Any:
        """One error instead of one for each of a hundred thousand unknown fields."""
        if isinstance(given, dict) and len(given) > len(cls.model_fields) + MOST_UNKNOWN:
            raise ValueError(f"{len(given)} fields, of which most are unknown")
        return given


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be stored")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate is not a character")
    return text


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("expected a UUID like 01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55")
    return UUID(value)


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a time as a string, like 2026-12-24T18:00:00Z")
    return days.instant(value)


def _day_or_instant(value: Any) -> Any:
    return days.day_or_instant(value) if isinstance(value, str) else value


def _zone(value: str) -> str:
    days.zone(value)
    return value


def _language(value: str) -> str:
    if not _LANGUAGE.fullmatch(value):
        raise ValueError("expected a language by its two letters (ISO 639-1), like en or de, or simple for none")
    return value


def _color(value: str) -> str:
    if not re.fullmatch(_COLOR, value):
        raise ValueError("expected a colour by its six hexadecimal digits, like #3a7d44")
    return value.lower()


def _whole(value: Any) -> Any:
    """A query's number: ASCII digits, and nothing that `int` would be so kind to read."""
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise ValueError("expected a whole number")
        return int(value)
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("expected true or false")
        return value == "true"
    return value


def normal_email(value: str) -> str:
    """As `email-validator` reads it; `.test` domains are addresses too, and no mail server is asked."""
    try:
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


def _uncommon(password: str) -> str:
    if password.lower() in passwords.common():
        raise ValueError("among the passwords that are tried first; choose another")
    return password


def no_twice(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("the same one is given twice")
    return values


class Shown:
    """Keywords of JSON Schema for a rule that a function checks."""

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), **self.keywords}


class NoneIsEmpty:
    """Of a list: null is one without items."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(cls._emptied, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "null"}]}

    @staticmethod
    def _emptied(value: Any) -> Any:
        return [] if value is None else value


class NotNull:
    """Of a field whose default is None: left out it is None, and null itself is refused."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(cls._not_null, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        [shown] = [kind for kind in handler(schema)["anyOf"] if kind != {"type": "null"}]
        return dict(shown)

    @staticmethod
    def _not_null(value: Any) -> Any:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it as it is")
        return value


class Characters:
    """A length in characters, counted after trimming, and said so in the schema."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._measured, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "minLength": self.least, "maxLength": self.most}

    def _measured(self, text: str) -> str:
        if not self.least <= len(text) <= self.most:
            raise ValueError(f"expected {self.least} to {self.most} characters, got {len(text)}")
        return text


Text = Annotated[StrictStr, AfterValidator(_storable), Shown(pattern=_NO_NUL)]
Trimmed = Annotated[Text, AfterValidator(str.strip)]
Filled = Annotated[Trimmed, Shown(pattern=_NOT_BLANK)]
Id = Annotated[UUID, BeforeValidator(_uuid, json_schema_input_type=str), Field(json_schema_extra={"format": "uuid"})]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
DayOrInstant = Annotated[
    date | datetime,
    BeforeValidator(_day_or_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}),
]
Zone = Annotated[
    Text, Characters(1, 64), AfterValidator(_zone), WithJsonSchema({"type": "string", "format": "timezone"})
]
Language = Annotated[
    StrictStr,
    AfterValidator(_language),
    WithJsonSchema({"type": "string", "pattern": "^([a-z]{2}|simple)$"}),
]
Color = Annotated[StrictStr, AfterValidator(_color), Shown(pattern=f"^{_COLOR}$")]
FromDigits = BeforeValidator(_whole)
"""Stands behind the bounds of an `int`: before them, pydantic leaves them out of the schema."""
Truth = Annotated[bool, BeforeValidator(_truth)]
Email = Annotated[Text, Characters(3, 254), AfterValidator(normal_email), Field(json_schema_extra={"format": "email"})]
Password = Annotated[Text, Characters(*passwords.CHARACTERS), AfterValidator(_uncommon)]
Sealed = Annotated[Text, Characters(0, 4_000)]  # what a client carries for us
Name = Annotated[Filled, Characters(1, 100)]
Position = Annotated[
    StrictStr,
    AfterValidator(order.check),
    WithJsonSchema(
        {"type": "string", "maxLength": 250, "pattern": "^[A-Za-z][0-9A-Za-z]+$", "format": "tend-position"}
    ),
]
Title = Annotated[Filled, Characters(1, 200)]
Description = Annotated[Text, Characters(0, 10_000)]
Tag = Annotated[Filled, Characters(1, 50)]
TaskTags = Annotated[list[Tag], Field(max_length=20), AfterValidator(no_twice), Shown(uniqueItems=True)]
