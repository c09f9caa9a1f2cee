"""Who asks, and over which connection; what every route reads of a request."""

import time
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Annotated, Any, Final, TypeVar, get_origin
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ValidationError

from backend.config import Settings
from backend.db import Database
from backend.errors import Invalid, NotSignedIn
from backend.schemas.scalars import Wire
from backend.scope import Scope
from backend.security import InvalidToken, Keys
from backend.services import accounts

REMEMBERED_SECONDS: Final = 10  # how long an ended session may still be believed, on each worker
REMEMBERED_MOST: Final = 10_000
MOST_PARAMETERS: Final = 200
KEPT_BYTES: Final = 4_096  # a longer query is read anew each time; this holds the longest filter in ASCII

Model = TypeVar("Model", bound=BaseModel)


class State:
    """What the application has for all requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.keys = Keys(settings.signing_secret, settings.access_token_minutes * 60)
        self._remembered: dict[str, tuple[Scope, float]] = {}

    async def scope_of(self, token: str) -> Scope:
        """Whose token it is. Verified, and its session looked up, at most once in 10 seconds."""
        known = self._remembered.get(token)
        if known and known[1] > time.time():
            return known[0]
        try:
            claims = self.keys.read(token)
        except InvalidToken:
            raise _not_valid() from None
        if not await accounts.is_alive(self.database, claims.session_id, claims.user_id):
            raise _not_valid()
        scope = Scope(claims.user_id, self.database, claims.timezone, claims.language, claims.session_id)
        if len(self._remembered) >= REMEMBERED_MOST:
            self._remembered.clear()
        self._remembered[token] = (scope, min(claims.expires_at, time.time() + REMEMBERED_SECONDS))
        return scope

    def forget(self, session_id: UUID | None) -> None:
        """At once on this worker; on the others within `REMEMBERED_SECONDS`."""
        kept = {token: known for token, known in self._remembered.items() if known[0].session_id != session_id}
        self._remembered = kept


def _not_valid() -> NotSignedIn:
    return NotSignedIn("The access token is not valid, or no longer.", token_sent=True)


def state_of(request: Request) -> State:
    state: State = request.app.state.tend
    return state


class SignedIn(OAuth2PasswordBearer):
    """The dependency and its description in OpenAPI in one: Swagger's Authorize button signs in with it."""

    async def __call__(self, request: Request) -> Scope:  # type: ignore[override]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotSignedIn("Sign in: send the access token as `Authorization: Bearer …`.")
        return await state_of(request).scope_of(token.strip())


signed_in = SignedIn(tokenUrl="/v1/auth/token", refreshUrl=None, scheme_name="Tend", auto_error=True)

Mine = Annotated[Scope, Depends(signed_in)]
TheState = Annotated[State, Depends(state_of)]


def asked_of(request: Request, model: type[Model]) -> Model:
    """The query's parameters. FastAPI's own reading costs more than the listing's statement.

    Raises RequestValidationError for unknown parameters, and for one that is given twice but may not be.
    """
    query: bytes = request.scope["query_string"]
    kept = len(query) <= KEPT_BYTES and b"cursor=" not in query  # each page of a walk is asked for once
    return _read_again(model, query) if kept else _read(model, query)


def _read(model: type[Model], query: bytes) -> Model:
    many = _many(model)
    given: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Invalid.at("query", msg=f"not UTF-8, percent-encoded, of at most {MOST_PARAMETERS} parameters") from None
    for name, value in pairs:
        if name in many:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise Invalid.at("query", name, msg="given twice")
        else:
            given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as wrong:
        errors = wrong.errors(include_input=False, include_url=False)
        raise RequestValidationError([{**error, "loc": ("query", *error["loc"])} for error in errors]) from None


# What a client asks it mostly asks again; nobody changes what was read.
_read_again = lru_cache(maxsize=1024)(_read)


@cache
def _many(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` for a route that reads its parameters with `asked_of`."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    parameters = []
    for name, described in schema["properties"].items():
        shown: Mapping[str, Any] = _inlined(described, schema.get("$defs", {}))
        description = shown.get("description", "")
        value = {key: part for key, part in shown.items() if key not in {"description", "title", "examples"}}
        if [kind.get("type") for kind in value.get("anyOf", [])][-1:] == ["null"] and len(value["anyOf"]) == 2:
            value = value["anyOf"][0]
        if "examples" in shown:  # in words: Swagger would fill an example in, and ask for it
            example = shown["examples"][0]
            description += f" For instance `{example[0] if isinstance(example, list) else example}`."
        parameters.append({"name": name, "in": "query", "required": False, "description": description, "schema": value})
    return {"parameters": parameters}


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            definition = definitions[part["$ref"].rsplit("/", 1)[-1]]
            return {**_inlined(definition, definitions), **{k: v for k, v in part.items() if k != "$ref"}}
        return {
            key: _inlined(value, definitions) for key, value in part.items() if key != "default" or value is not None
        }
    if isinstance(part, list):
        return [_inlined(value, definitions) for value in part]
    return part


async def no_parameters(request: Request) -> None:
    """For routes that take none: an unknown parameter is refused, not ignored."""
    if request.scope["query_string"]:
        asked_of(request, Wire)


NO_PARAMETERS = [Depends(no_parameters)]

IfMatch = Annotated[
    list[str] | None, Header(description='Only if it is still at this ETag, like `"7"`.', examples=['"7"'])
]


def expected_versions(if_match: list[str] | None) -> list[int] | None:
    """The versions of If-Match (RFC 9110, section 13.1.1: strong comparison); None when any will do."""
    if if_match is None:
        return None
    tags = _tags_in(if_match)
    if tags == ["*"]:
        return None
    return [int(tag[1:-1]) for tag in tags if is_version(tag)]


def _tags_in(lines: Sequence[str]) -> list[str]:
    """The entity tags of a header, which may come in several lines (section 5.3)."""
    return [tag.strip() for tag in ",".join(lines).split(",")]


def is_version(tag: str) -> bool:
    number = tag[1:-1]
    if not (tag[:1] == tag[-1:] == '"' and number.isascii() and number.isdigit() and len(number) < 19):
        return False
    return str(int(number)) == number


def none_match(request: Request, etag: str) -> bool:
    """Whether If-None-Match leaves it to be sent (section 13.1.2: weak comparison)."""
    tags = known_tags(request)
    return etag not in tags and "*" not in tags


def known_tags(request: Request) -> set[str]:
    """The entity tags of If-None-Match in their quotes, weak as strong; empty without it."""
    headers = request.headers.getlist("if-none-match")
    return {tag.removeprefix("W/") for tag in _tags_in(headers)} if headers else set()
