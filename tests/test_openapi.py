"""The documentation is complete, true, and works without the internet."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
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


async def test_every_body_has_an_example_and_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = openapi["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]
            examples = schema.get("examples") or [part.get("examples") for part in schema["properties"].values()]
            assert any(examples), name
    for reference in re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(openapi)):
        assert reference in openapi["components"]["schemas"]


async def test_the_listing_s_parameters_are_those_that_it_reads(openapi: dict[str, Any]) -> None:
    parameters = openapi["paths"]["/v1/tasks"]["get"]["parameters"]

    assert [parameter["name"] for parameter in parameters] == list(TaskFilter.model_fields)
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
        "GET /health/live",
        "GET /health/ready",
    }
    (scheme,) = openapi["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"]["tokenUrl"] == "/v1/auth/token"


async def test_the_documentation_s_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = (await http.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert (await http.get(address)).status_code == 200, address
    assert "://" not in page.replace("http://www.w3.org", "")
