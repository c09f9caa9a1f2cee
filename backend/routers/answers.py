"""How answers look: JSON that Postgres made, and what can go wrong, for OpenAPI."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, Field

from backend.deps import none_match
from backend.errors import problem_of


class Fault(BaseModel):
    loc: list[str | int] = Field(description="Where, from the outside in.", examples=[["body", "title"]])
    msg: str = Field(examples=["expected 1 to 200 characters, got 0"])
    type: str = Field(examples=["value_error"])


class Step(BaseModel):
    id: UUID = Field(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"])
    title: str = Field(examples=["Water the figs"])


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:tend:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such task."])
    instance: str = Field(description="The path that was asked for.", examples=["/v1/tasks/…"])
    errors: list[Fault] = Field([], description="What is wrong with the request; left out when it is nothing of it.")
    challenge: str = Field(
        "", description="In a 401 of a sign-in whose second factor is still to come, and only there."
    )
    path: list[Step] = Field(
        [],
        description="In a 409 of dependencies that would lead in a circle, and only there: tasks, each of which would "
        "depend on the next, from one back to itself. There is no shorter way.",
    )
    last_n: int = Field(
        0, description="In a 409 of a sync, and only there: up to which operation the server has the device's."
    )


_SAID = {
    304: "Not changed: the ETag is among If-None-Match.",
    401: "No access token, or one that is not valid.",
    403: "Signed in, but not for this: `WWW-Authenticate` names the scope that the token has not.",
    404: "Not there, in the trash, or somebody else's.",
    408: "The request did not come in time; the connection is closed.",
    409: "It is there already, or what is there stands against it: `detail` says what.",
    412: "The version is not one that If-Match names.",
    413: "The body is too large.",
    415: "The body is in a media type that is not spoken here.",
    422: "Understood, but not valid; `errors` say where.",
    429: "Too often: `Retry-After` says when to try again.",
    501: "Not offered by this server: a setting is missing.",
    503: "The database is away or too busy; `Retry-After` says when to try again. With the type "
    "`urn:tend:problem:unsettled` a change was sent, and whether it was made is not known.",
}


_HEADERS = {
    name: {"description": words, "required": True, "schema": {"type": "string"}, "example": example}
    for name, words, example in (
        ("ETag", "The version, in quotes: for If-Match and If-None-Match.", '"7"'),
        ("Idempotency-Replayed", "It was answered before, to the same request with this key.", "true"),
        ("Location", "Where it is.", "/v1/tasks/01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"),
        ("RateLimit", "How often one still may, and in how many seconds there is more.", '"api";r=0;t=12'),
        ("RateLimit-Policy", "How often one may in how many seconds.", '"api";q=600;w=60'),
        ("Retry-After", "In seconds.", "12"),
        ("Tend-Change", "How far the changes of the user's data have come: for a request to name.", "42"),
        ("X-Request-ID", "The request's name in the log; one that is sent is kept.", "0f8b1c3e5a7d4926"),
        ("WWW-Authenticate", "What is wrong with the token (RFC 6750, section 3).", 'Bearer error="invalid_token"'),
    )
}
_ALWAYS = {
    304: ("ETag",),
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def header(name: str) -> dict[str, Any]:
    return dict(_HEADERS[name])


def with_headers(*names: str) -> dict[str, Any]:
    """What `responses` of a route say of a status that always comes with these."""
    return {"headers": {name: _HEADERS[name] for name in names}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: each status with its words and the body of all errors.

    An unknown parameter is a 422 everywhere, and whoever is signed in may have spent API_REQUESTS_PER_MINUTE.
    """
    described: dict[int | str, dict[str, Any]] = {}
    signed_in = {401, 403} <= {*statuses}
    for status in sorted({*statuses, 422, 503} | ({429} if signed_in else set())):
        described[status] = {"description": _SAID[status], **with_headers(*_ALWAYS.get(status, ()))}
        if status >= 400:
            schema = {"$ref": "#/components/schemas/Problem"}
            example = problem_of("/v1/…", status, _SAID[status])
            described[status]["content"] = {"application/problem+json": {"schema": schema, "example": example}}
    return described


def json_answer(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def etag(version: int) -> str:
    return f'"{version}"'


def stored_answer(request: Request, version: int, body: str) -> Response:
    """The row with its ETag, or a 304 when If-None-Match has it already."""
    headers = {"ETag": etag(version)}
    if not none_match(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return json_answer(body, headers=headers)


def items_of(rows: list[str], **rest: str) -> str:
    """`{"items": […], …}` of rows and values that are JSON already."""
    return "{" + ",".join([f'"items":[{",".join(rows)}]', *(f'"{name}":{value}' for name, value in rest.items())]) + "}"
