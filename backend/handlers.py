"""From an error to an answer: one body shape (RFC 9457), one place.

No trace, SQL, constraint text or input reaches a client: input can hold a password.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import Scope

from backend.errors import (
    Circle,
    Conflict,
    Fault,
    InFlight,
    Invalid,
    NotAllowed,
    NotFound,
    NotOffered,
    NotSignedIn,
    OutOfStep,
    PreconditionFailed,
    SecondFactorNeeded,
    SignInAgain,
    TendError,
    TooMany,
    Unavailable,
    Unsettled,
    Unsupported,
    faults_of,
    problem_of,
    rate_limit,
)
from backend.rules.addresses import client_address
from backend.services import audit
from backend.services.constraints import words_of
from backend.telemetry import exchange

log = logging.getLogger("tend")

STATUS: Final[dict[type[TendError], int]] = {
    NotSignedIn: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    Unsupported: 415,
    Invalid: 422,
    TooMany: 429,
    NotOffered: 501,
    Unavailable: 503,
}
IN_PATHS: Final = "/:@!$&'()*+,;=~"
MOST_FAULTS: Final = 50
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_WORDS: Final = {
    404: "There is nothing here; /docs shows what there is.",
    413: "The body is too large.",
    500: "Something went wrong here. It was logged; nothing of your request was kept half done.",
}


def problem(
    scope: Scope,
    status: int,
    detail: str,
    errors: Sequence[Fault] = (),
    headers: dict[str, str] | None = None,
    more: dict[str, Any] | None = None,
) -> Response:
    body = {**problem_of(_path_of(scope), status, detail), **(more or {})}
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _path_of(scope: Scope) -> str:
    """As it was sent, percent-encoded where a URI needs it: in `home%2Fgarden` the slash is the tag's."""
    sent: bytes | None = scope.get("raw_path")
    path = quote(sent, safe=f"%{IN_PATHS}") if sent else quote(scope["path"], safe=IN_PATHS, errors="replace")
    return f"/%2F{path[2:]}" if path.startswith("//") else path  # which would name another host


def too_large(scope: Scope) -> Response:
    """Closes the connection: what is left of the body would have to be read otherwise."""
    return problem(scope, 413, _WORDS[413], headers={"Connection": "close"})


def install(app: FastAPI) -> None:
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def answer_to(request: Request, error: Exception) -> Response:
    """What FastAPI would answer with the same handlers."""
    return await next(_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS)(request, error)


async def _tend(request: Request, error: Exception) -> Response:
    assert isinstance(error, TendError)
    exchange.failed(error)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if isinstance(error, NotAllowed | TooMany) or (isinstance(error, NotSignedIn) and error.token_sent):
        told = {"status": status, "why": error.detail, "address": client_address(request.scope)}
        audit.tell("refused", **told, method=request.method, route=exchange.route())
    more: dict[str, Any] = {"challenge": error.challenge} if isinstance(error, SecondFactorNeeded) else {}
    if isinstance(error, Circle):
        more["path"] = [{"id": task_id, "title": title} for task_id, title in error.path]
    if isinstance(error, Unsettled):  # for programs: the words are for people (RFC 9457, section 3.1.4)
        more["type"] = "urn:tend:problem:unsettled"
    if isinstance(error, InFlight):
        more["type"] = "urn:tend:problem:in-flight"
    if isinstance(error, OutOfStep):
        more |= {"type": f"urn:tend:problem:{error.kind.replace('_', '-')}", "last_n": error.last_n}
    return problem(request.scope, status, error.detail, error.errors, _headers_of(error), more)


def _headers_of(error: TendError) -> dict[str, str]:
    match error:
        case SignInAgain():
            return {"WWW-Authenticate": f'Bearer error="insufficient_user_authentication", max_age={error.seconds}'}
        case NotSignedIn():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"' if error.token_sent else "Bearer"}
        case NotAllowed(scope=str()):
            return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
        case TooMany():
            return {
                "Retry-After": str(error.retry_after),
                **rate_limit(error.name, error.most, error.seconds, 0, error.retry_after),
            }
        case Unavailable() | InFlight():
            return {"Retry-After": str(error.retry_after)}
    return {}


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):  # FastAPI reads JSON and nothing else
        return await _tend(request, Unsupported("Send the body as JSON, with `Content-Type: application/json`."))
    if isinstance(error.body, FormData) and not request.headers.get("content-type", "").lower().startswith(_FORMS):
        return await _tend(request, Unsupported("Send a form, with `Content-Type: application/x-www-form-urlencoded`."))
    return _invalid(request, error.errors())


def _invalid(request: Request, errors: Iterable[Any]) -> Response:
    found = list(errors)
    more = f" {len(found):,} things are wrong; these are the first." if len(found) > MOST_FAULTS else ""
    return problem(request.scope, 422, f"The request is not valid.{more}", faults_of(found[:MOST_FAULTS]))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if status == 400:  # FastAPI's word for a body that cannot be parsed
        return _invalid(request, [{"loc": ["body"], "type": "json_invalid"}])
    if status == 413:
        return too_large(request.scope)
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(allowed(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": headers["Allow"]})
        return problem(request.scope, 405, f"Allowed here: {headers['Allow']}.", headers=headers)
    return problem(request.scope, status, _WORDS.get(status, error.detail), headers=headers)


def allowed(request: Request) -> list[str]:
    methods = {"OPTIONS"}
    for route in iter_route_contexts(request.app.routes):
        if route.path and compile_path(route.path)[0].match(request.scope["path"]):
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, psycopg.Error)
    if isinstance(error, psycopg.IntegrityError):
        told = words_of(error)
        if told:
            return await _tend(request, told)
    if isinstance(error, psycopg.DataError):
        return await _tend(request, Invalid("A value is not one that can be stored."))
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    # The trace, without values (telemetry/logs.py), and the route, not the path: they are the user's own.
    log.error("%s %s failed", request.method, exchange.route(), exc_info=error)
    exchange.failed(error)
    return problem(request.scope, 500, _WORDS[500])


_HANDLERS: Final[dict[type, Callable[[Request, Exception], Awaitable[Response]]]] = {
    TendError: _tend,
    RequestValidationError: _validation,
    HTTPException: _http,
    psycopg.Error: _database,
    Exception: _unexpected,
}
