"""The description at /openapi.json: what the routes say of themselves, and what is so everywhere."""

import json
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from typing import Any

from fastapi import FastAPI, Request, Response

from backend import idempotency
from backend.deps import none_match
from backend.routers.answers import Problem, header, problems
from backend.schemas.scalars import Wire
from backend.services.idempotency import HEADER, HOURS


def install(app: FastAPI) -> None:
    generated = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema, app.openapi_schema = generated(), None  # until it is complete
            _complete(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]

    @cache  # from the first request on: to render it takes 10 ms of everybody's time
    def rendered() -> tuple[bytes, str]:
        body = json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()
        return body, f'"{sha256(body).hexdigest()[:32]}"'

    @app.get("/openapi.json", include_in_schema=False)
    async def description(request: Request) -> Response:
        body, tag = rendered()
        if not none_match(request, tag):
            return Response(status_code=304, headers={"ETag": tag})
        return Response(body, headers={"ETag": tag}, media_type="application/json")


def _complete(schema: dict[str, Any]) -> None:
    _one_shape_of_errors(schema["components"]["schemas"])
    _whole_examples(schema["components"]["schemas"])
    schema["components"]["securitySchemes"]["Token"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token that you have already, or a personal access token (`tend_…`).",
    }
    for sent in schema["webhooks"].values():  # by this server, which gets no 422 of its own
        sent["post"]["responses"] = {"2XX": {"description": "It is taken."}, "410": {"description": "No more, ever."}}
    late = problems(408)[408]
    for operation in _keyed(schema):
        _describe_key(operation)
    for operation in _operations(schema):
        answers = operation["responses"]
        for status, answer in answers.items():
            headers = answer.setdefault("headers", {})
            # A connection for which there is no room hears 503 before there is a request.
            headers["X-Request-ID"] = {**header("X-Request-ID"), "required": status != "503"}
            if "security" in operation and status.startswith("2"):
                headers.setdefault("Tend-Change", {**header("Tend-Change"), "required": False})
        if "requestBody" in operation:
            answers["408"] = late  # of the connection, too
        if "security" in operation:
            operation["security"].append({"Token": []})


def _one_shape_of_errors(schemas: dict[str, Any]) -> None:
    """In place of FastAPI's own."""
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _whole_examples(schemas: dict[str, Any], model: type[Wire] = Wire) -> None:
    """With their nulls, which FastAPI leaves out."""
    for each in model.__subclasses__():
        extra = each.model_config.get("json_schema_extra")
        if each.__name__ in schemas and isinstance(extra, dict):
            schemas[each.__name__] |= extra
        _whole_examples(schemas, each)


def _keyed(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that take an Idempotency-Key."""
    for path, methods in schema["paths"].items():
        if path not in idempotency.REFUSED:
            yield from (each for method, each in methods.items() if method.upper() in idempotency.METHODS)


def _describe_key(operation: dict[str, Any]) -> None:
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": f"A new one for each request, like `{idempotency.EXAMPLE}`. Sent again with it, the same "
        f"request is answered as the first time and done once; for {HOURS} hours, and only if it was done.",
        "schema": {"type": "string", "pattern": idempotency.PATTERN, "maxLength": idempotency.MOST_CHARACTERS + 2},
    }
    operation.setdefault("parameters", []).append(parameter)
    answers = operation["responses"]
    for status, more in {
        409: f"Or the same {HEADER} is being answered: then `Retry-After` is there, and the type is "
        "`urn:tend:problem:in-flight`.",
        422: f"Or the {HEADER} was that of another request.",
    }.items():
        answer = answers.setdefault(str(status), dict(problems(status)[status]))
        answer["description"] += f" {more}"
    answers["409"].setdefault("headers", {})["Retry-After"] = {**header("Retry-After"), "required": False}
    for status, answer in answers.items():
        if status.startswith("2"):
            headers = answer.setdefault("headers", {})
            headers[idempotency.REPLAYED] = {**header(idempotency.REPLAYED), "required": False}


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in schema["paths"].values():
        yield from methods.values()
