"""Who asks, and over which connection; what every route reads of a request."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Annotated, Any, Final, TypeVar, get_origin
from urllib.parse import parse_qsl

from fastapi import Depends, Header, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, ValidationError, WithJsonSchema

from backend.errors import Invalid, NotAllowed, NotSignedIn, SignInAgain, rate_limit
from backend.rules.addresses import client_address
from backend.schemas.scalars import Wire
from backend.scope import Scope
from backend.services.allowances import Allowances
from backend.services.audit import DEVICE_CHARACTERS, Caller
from backend.services.export import Exports
from backend.services.recognition import Recognition
from backend.state import State
from backend.telemetry import exchange

log = logging.getLogger("tend")

FRESH_SECONDS: Final = 15 * 60  # that a sign-in is enough for what is dear
SCOPES: Final = {
    "tasks:read": "See tasks, their comments and activity, projects, tags and saved filters.",
    "tasks:write": "Make, change and delete them; what is written is shown.",
    "account": "See and change the account, and where it is signed in.",
}
MOST_PARAMETERS: Final = 200
KEPT_BYTES: Final = 4_096  # a longer query is read anew each time; this holds the longest filter in ASCII

Model = TypeVar("Model", bound=BaseModel)


def state_of(request: Request) -> State:
    state: State = request.app.state["tend"]  # as an attribute it takes three times as long
    return state


def recognition_of(request: Request) -> Recognition:
    recognition: Recognition = request.app.state["recognition"]
    return recognition


async def holder_of(request: Request) -> Scope:
    """Whose token was sent, whatever it is for. Raises NotSignedIn.

    One that is known already stands in `request.scope["tend.holder"]`, with the transaction that it works in
    (idempotency.py).
    """
    held: Scope | None = request.scope.get("tend.holder")
    if held is not None:
        return held
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("Sign in: send the access token as `Authorization: Bearer …`.")
    scope = await recognition_of(request).scope_of(token.strip())
    exchange.is_of(scope.user_id)
    return scope


async def scope_of(request: Request, needed: str) -> Scope:
    """Whose token was sent. Raises NotSignedIn, and NotAllowed when it is not one for what is `needed`."""
    scope = replace(
        await holder_of(request),
        seen=request.scope["tend.seen"],
        replica=None if "tend.holder" in request.scope else state_of(request).replica,
        least=_named_change(request),
    )
    if needed not in scope.scopes:
        raise NotAllowed(f"This token is not one for `{needed}`.", scope=needed)
    if "tend.holder" not in request.scope:
        await take_allowance(request, scope)
    return scope


async def take_allowance(request: Request, mine: Scope) -> None:
    """One request of the user's minute, where the operator limits them. Raises TooMany."""
    allowances: Allowances | None = request.app.state["allowances"]
    if allowances:
        limit, left, wait = await allowances.take(mine.user_id)
        named = rate_limit(limit.name, limit.most, limit.seconds, left, wait)
        request.scope["tend.headers"] += [(name.lower().encode(), value.encode()) for name, value in named.items()]


def _named_change(request: Request) -> int | None:
    text = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == b"tend-change"), None)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid.at("header", "Tend-Change", msg="expected a number, as an answer's Tend-Change has it")
    return int(text)


class SignedIn(OAuth2PasswordBearer):
    """The dependency and its description in OpenAPI in one: Swagger's Authorize button signs in with it."""

    async def __call__(self, request: Request, needs: SecurityScopes) -> Scope:  # type: ignore[override]
        return await scope_of(request, needs.scope_str)


signed_in = SignedIn(tokenUrl="/v1/auth/token", scheme_name="Tend", scopes=SCOPES)

TheState = Annotated[State, Depends(state_of)]
TheRecognition = Annotated[Recognition, Depends(recognition_of)]
CanRead = Annotated[Scope, Security(signed_in, scopes=["tasks:read"])]
CanWrite = Annotated[Scope, Security(signed_in, scopes=["tasks:write"])]
CanManage = Annotated[Scope, Security(signed_in, scopes=["account"])]


async def _signed_in_person(mine: CanManage) -> Scope:
    if mine.session_id is None:
        raise NotAllowed("A personal access token is not enough for this. Sign in.")
    return mine


InPerson = Annotated[Scope, Depends(_signed_in_person)]
"""For what a program should not do in somebody's place."""


async def _freshly_signed_in(mine: InPerson, recognition: TheRecognition) -> Scope:
    if mine.signed_in_at < time.time() - FRESH_SECONDS:
        raise SignInAgain(FRESH_SECONDS)
    await recognition.confirm(mine)
    return mine


Fresh = Annotated[Scope, Depends(_freshly_signed_in)]
"""For what would let somebody in, or keep the owner out: who they are was shown a moment ago."""


def _caller(request: Request) -> Caller:
    state = state_of(request)
    if "x-forwarded-for" in request.headers and not state.settings.trusted_proxies and not state.proxy_told:
        state.proxy_told = True
        log.warning(
            "X-Forwarded-For from %s is not believed: is it your proxy? Then name it in TRUSTED_PROXIES, or everybody "
            "behind it is one client to the limits on signing in.",
            request.client.host if request.client else "nowhere",
        )
    device = request.headers.get("user-agent", "")
    printable = "".join(character for character in device if character.isprintable())
    return Caller(client_address(request.scope), printable[:DEVICE_CHARACTERS])


def _exports_of(request: Request) -> Exports:
    exports: Exports = request.app.state["exports"]
    return exports


TheExports = Annotated[Exports, Depends(_exports_of)]
From = Annotated[Caller, Depends(_caller)]


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


def documented(model: type[BaseModel], *others: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra` for a route that reads its parameters with `asked_of`, and `others` than those."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    parameters: list[Mapping[str, Any]] = []
    for name, described in schema["properties"].items():
        shown: Mapping[str, Any] = _inlined(described, schema.get("$defs", {}))
        description = shown.get("description", "")
        value = {key: part for key, part in shown.items() if key not in {"description", "title", "examples"}}
        if kinds := [kind for kind in value.pop("anyOf", []) if kind.get("type") != "null"]:
            value |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        if "examples" in shown:  # in words: Swagger would fill an example in, and ask for it
            example = shown["examples"][0]
            description += f" For instance `{example[0] if isinstance(example, list) else example}`."
        parameter = {"name": name, "in": "query", "required": False, "description": description, "schema": value}
        if value.get("type") == "array" and name not in _many(model):  # with commas, in one parameter
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return {"parameters": [*parameters, *others]}


CHANGE: Final = {
    "name": "Tend-Change",
    "in": "header",
    "required": False,
    "description": "The highest number that an answer's `Tend-Change` has told. Then a read replica may answer, where "
    "the server has one, and never with an older state than that. Without it, the database itself does.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            definition = definitions[part["$ref"].rsplit("/", 1)[-1]]
            return {**_inlined(definition, definitions), **{k: v for k, v in part.items() if k != "$ref"}}
        return {
            key: _inlined(value, definitions)
            for key, value in part.items()
            if key != "default" or value not in (None, [])
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
    list[str] | None,
    WithJsonSchema({"type": "string"}),
    Header(description='Only if it is still at this ETag, like `"7"`.', examples=['"7"']),
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
