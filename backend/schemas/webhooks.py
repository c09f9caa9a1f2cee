"""Webhooks on the wire."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, HttpUrl, TypeAdapter, ValidationError

from backend.rules.webhooks import PATTERNS, RESET, TEST, TYPES
from backend.schemas.scalars import Characters, Id, Name, NotNull, Shown, Text, Wire, no_twice
from backend.schemas.sync import Change
from backend.security import webhooks as signing

Pattern = Literal[PATTERNS]  # type: ignore[valid-type]
Type = Literal[(*TYPES, RESET, TEST)]  # type: ignore[valid-type]
Because = Literal["owner", "failing", "gone", "password_reset"]
MOST_URL: Final = 2_000
_WHSEC: Final = r"^whsec_((_{4}){8,20}(_{2}==|_{3}=)?|(_{4}){21}(_{2}==)?)$".replace("_{", "[A-Za-z0-9+/]{")
_HTTP: Final = TypeAdapter(HttpUrl)
EXAMPLE: dict[str, Any] = {"url": "https://example.com/hooks/tend", "events": ["task.completed", "project.*"]}
READ_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2aa1",
    **EXAMPLE,
    "description": "The board in the kitchen",
    "enabled": True,
    "disabled_because": None,
    "disabled_at": None,
    "failing_since": None,
    "next_try_at": None,
    "created_at": "2026-11-23T08:15:00.123456Z",
    "updated_at": "2026-11-23T08:15:00.123456Z",
}
DELIVERY_EXAMPLE: dict[str, Any] = {
    "id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2aa2",
    "type": "task.completed",
    "status": "delivered",
    "attempts": 2,
    "tries": [
        {
            "at": "2026-11-23T08:17:31.504321Z",
            "status": 503,
            "error": "It answered with 503.",
            "milliseconds": 41,
        },
        {"at": "2026-11-23T08:17:36.611203Z", "status": 204, "error": None, "milliseconds": 38},
    ],
    "created_at": "2026-11-23T08:17:31.402117Z",
    "delivered_at": "2026-11-23T08:17:36.611203Z",
}
BODY_EXAMPLE = (
    '{"type":"tag.deleted","timestamp":"2026-11-23T08:17:31.401977Z","data":{"entity":"tags",'
    '"id":"01997f3e-5a2b-7c31-9d04-8b1f6f1c2aa4","version":42,"deleted":true,"row":null}}'
)
SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # of the specification's own example


def _url(text: str) -> str:
    try:
        url = _HTTP.validate_python(text)
    except ValidationError:
        raise ValueError("expected a web address, like https://example.com/hooks/tend") from None
    if url.username or url.password:
        raise ValueError("a URL with a user in it is not taken: the signature shows whose message it is")
    if url.fragment:
        raise ValueError("what is behind # never reaches a server; leave it out")
    if len(str(url)) > MOST_URL:
        raise ValueError(f"in its normal form it has more than {MOST_URL:,} characters")
    return str(url)


def _secret(text: str) -> str:
    return signing.written(signing.read(text))


Url = Annotated[Text, Characters(1, MOST_URL), AfterValidator(_url), Shown(format="uri")]
Secret = Annotated[Text, Characters(1, 100), AfterValidator(_secret), Shown(pattern=_WHSEC)]
Events = Annotated[
    list[Pattern],
    Field(min_length=1, max_length=len(PATTERNS)),
    AfterValidator(no_twice),
    Shown(uniqueItems=True),
]
EVENTS = "What it is told of: a type, all of a kind (`task.*`), or all (`*`)."


class Message(Wire):
    """What is posted to an address. An answer of 2xx takes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [json.loads(BODY_EXAMPLE)]})

    type: Type
    timestamp: datetime = Field(description="When it was read.")
    data: Change | dict[str, Any] = Field(
        description="The change. Of a `test`, the `webhook_id`; of a `reset`, empty: read everything anew."
    )


class WebhookCreate(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="Brought by the client, or made by the server (UUID version 7).")
    url: Url = Field(description="Where messages are posted.")
    events: Events = Field(["*"], description=EVENTS)
    description: Name | None = Field(None, description="What it is for.")
    secret: Secret | None = Field(
        None, description="What messages are signed with: `whsec_` and 24 to 64 bytes in base64. Made, if left out."
    )


class WebhookPatch(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    url: Annotated[Url | None, NotNull] = None
    events: Annotated[Events | None, NotNull] = Field(None, description=EVENTS)
    description: Name | None = None
    enabled: Annotated[bool | None, Field(strict=True), NotNull] = Field(
        None, description="Switched on again, it goes on where it stopped."
    )

    def sent(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class SecretRenewal(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"secret": SECRET}]})

    secret: Secret | None = Field(None, description="The new one. Made, if left out.")


class WebhookRead(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [READ_EXAMPLE]})

    id: UUID
    url: str
    events: list[Pattern]
    description: str | None
    enabled: bool
    disabled_because: Because | None = Field(
        description="`failing`: it took nothing for five days. `gone`: it answered with 410. `password_reset`: it may "
        "have been somebody else's."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="null when the last try was taken.")
    next_try_at: datetime | None = Field(description="While it fails.")
    created_at: datetime
    updated_at: datetime


class WebhookCreated(WebhookRead):
    model_config = ConfigDict(json_schema_extra={"examples": [{**READ_EXAMPLE, "secret": SECRET}]})

    secret: str = Field(description="Shown here, and never again.")


class NewSecret(Wire):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"secret": SECRET, "former_until": "2026-11-24T08:15:00.123456Z"}]}
    )

    secret: str = Field(description="Shown here, and never again.")
    former_until: datetime = Field(description="Until then, messages are signed with the former one too.")


class Webhooks(Wire):
    items: list[WebhookRead] = Field(description="Newest first.")


class Attempt(Wire):
    at: datetime
    status: int | None = Field(description="Of the answer; null when there was none.")
    error: str | None = Field(description="null when it was taken.")
    milliseconds: int


class DeliveryListed(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [DELIVERY_EXAMPLE]})

    id: UUID = Field(description="The message's `webhook-id`, the same at each try.")
    type: Type
    status: Literal["pending", "delivered"]
    attempts: int
    tries: list[Attempt] = Field(description="The last ten, oldest first.")
    created_at: datetime
    delivered_at: datetime | None


class DeliveryRead(DeliveryListed):
    model_config = ConfigDict(json_schema_extra={"examples": [{**DELIVERY_EXAMPLE, "body": BODY_EXAMPLE}]})

    body: str = Field(description="What is sent, to the byte.")


class Deliveries(Wire):
    items: list[DeliveryListed] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="null at the end.")


def host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").strip("[]")
