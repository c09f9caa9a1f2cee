"""The documentation is complete, true, and works without the internet."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI

from backend.schemas.filters import TaskFilter


@pytest.fixture
def openapi(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


async def test_every_operation_says_what_it_does(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        assert operation["summary"], name
        assert operation["description"], name


async def test_every_error_has_the_one_shape(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        for status, answer in operation["responses"].items():
            if status >= "400":
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (name, status)
        if "security" in operation:
            assert "401" in operation["responses"], name
    assert "HTTPValidationError" not in str(openapi)


async def test_every_operation_documents_what_it_can_refuse(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        expected = {"422", "503"}  # an unknown parameter, and no database
        if "security" in operation:
            expected |= {"401", "403", "429"}
        if "requestBody" in operation:
            expected |= {"408", "413", "415"}
        assert expected <= set(operation["responses"]), name


async def test_the_headers_that_a_client_needs_are_documented(openapi: dict[str, Any]) -> None:
    always = {
        "401": {"WWW-Authenticate"},
        "429": {"Retry-After", "RateLimit", "RateLimit-Policy"},
        "503": {"Retry-After"},
    }
    for name, operation in operations(openapi):
        for status, answer in operation["responses"].items():
            named = {"X-Request-ID", *always.get(status, set())} if status != "408" else set()
            assert named <= set(answer.get("headers", {})), (name, status)
    made = openapi["paths"]["/v1/tasks"]["post"]["responses"]["201"]["headers"]
    assert set(made) == {"ETag", "Idempotency-Replayed", "Location", "Tend-Change", "X-Request-ID"}


async def test_no_two_paths_differ_only_in_the_names_of_their_parameters(openapi: dict[str, Any]) -> None:
    """OpenAPI calls them identical: which one is meant is not said."""
    paths = [re.sub(r"{[^}]+}", "{}", path) for path in openapi["paths"]]

    assert len(set(paths)) == len(paths)


async def test_an_answer_without_a_body_is_documented_without_one(openapi: dict[str, Any]) -> None:
    for path in ("/v1/auth/verify-email", "/v1/auth/password-reset", "/v1/me/email"):
        assert "content" not in openapi["paths"][path]["post"]["responses"]["202"], path


async def test_a_schema_says_what_would_be_refused(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    patch, create = schemas["TaskPatch"]["properties"], schemas["TaskCreate"]["properties"]
    [page] = [each for each in openapi["paths"]["/v1/tasks"]["get"]["parameters"] if each["name"] == "page"]

    for refuses_null in (patch["title"], patch["priority"], patch["completed"], create["title"]):
        assert "null" not in str(refuses_null)
    for clears in (patch["description"], patch["due_date"], patch["tags"], create["tags"]):
        assert {"type": "null"} in clears["anyOf"]
    assert create["tags"]["anyOf"][0]["uniqueItems"]
    for text, fits in (("figs", True), (" figs\n", True), (" \n\x1f", False), ("a\0b", False)):
        assert bool(re.search(create["title"]["pattern"], text)) == fits, text
    assert schemas["TaskBatchPatch"]["properties"]["set"]["minProperties"] == 1
    assert (page["schema"]["minimum"], page["schema"]["maximum"]) == (1, 10_000)


async def test_every_body_has_an_example_and_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            required = content["schema"].get("anyOf", [content["schema"]])[0]  # else null: no body is fine
            schema = openapi["components"]["schemas"][required["$ref"].rsplit("/", 1)[1]]
            examples = schema.get("examples") or [part.get("examples") for part in schema["properties"].values()]
            assert any(examples), name
    for reference in re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(openapi)):
        assert reference in openapi["components"]["schemas"]


async def test_every_example_is_what_its_schema_says(openapi: dict[str, Any]) -> None:
    """Its nulls too."""
    components = openapi["components"]
    for name, schema in components["schemas"].items():
        validator = jsonschema_rs.Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": components}
        )
        for example in schema.get("examples", []):
            assert [error.message for error in validator.iter_errors(example)] == [], name


async def test_the_listing_s_parameters_are_those_that_it_reads(openapi: dict[str, Any]) -> None:
    parameters = openapi["paths"]["/v1/tasks"]["get"]["parameters"]

    assert [parameter["name"] for parameter in parameters] == [*TaskFilter.model_fields, "Tend-Change"]
    assert all(parameter["description"] for parameter in parameters)
    assert not any("$ref" in str(parameter) for parameter in parameters)
    # Swagger's page would fill an example in, and the first listing that somebody tries would find nothing.
    assert not any("example" in key for parameter in parameters for key in (*parameter, *parameter["schema"]))


async def test_what_asks_for_a_token_says_so_and_points_to_where_it_is_got(openapi: dict[str, Any]) -> None:
    open_paths = {name for name, operation in operations(openapi) if "security" not in operation}

    assert open_paths == {
        "POST /v1/auth/register",
        "POST /v1/auth/token",
        "POST /v1/auth/refresh",
        "POST /v1/auth/second-factor",
        "GET /v1/auth/outside",
        "POST /v1/auth/outside/{provider}",
        "POST /v1/auth/outside/{provider}/finish",
        "POST /v1/auth/verify-email",
        "POST /v1/auth/verify-email/confirm",
        "POST /v1/auth/password-reset",
        "POST /v1/auth/password-reset/confirm",
        "GET /.well-known/jwks.json",
        "GET /health/live",
        "GET /health/ready",
    }
    schemes = openapi["components"]["securitySchemes"]
    assert schemes["Tend"]["flows"]["password"]["tokenUrl"] == "/v1/auth/token"
    assert schemes["Token"]["scheme"] == "bearer"
    for name, operation in operations(openapi):
        assert name in open_paths or [list(way) for way in operation["security"]] == [["Tend"], ["Token"]], name


async def test_the_documentation_s_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = (await http.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert (await http.get(address)).status_code == 200, address
    assert "://" not in page.replace("http://www.w3.org", "")


async def test_the_description_is_made_once_and_sent_once(
    http: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await http.get("/openapi.json")
    assert first.json() == app.openapi()
    monkeypatch.setattr(app, "openapi_schema", {"made": "anew"})  # the other tests have the same app
    again = await http.get("/openapi.json")
    known = await http.get("/openapi.json", headers={"If-None-Match": f'"another", W/{first.headers["ETag"]}'})
    other = await http.get("/openapi.json", headers={"If-None-Match": '"another"'})

    assert again.content == first.content == other.content
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", first.headers["ETag"])


async def test_the_description_s_head_is_told_without_it(http: httpx.AsyncClient) -> None:
    there, head = await http.get("/openapi.json"), await http.head("/openapi.json")

    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Type", "Content-Length")} == {
        name: there.headers[name] for name in ("ETag", "Content-Type", "Content-Length")
    }
