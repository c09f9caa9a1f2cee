"""What may not come in, and how it is refused."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.client import Client

JSON = {"Content-Type": "application/json"}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """RFC 9457, one shape for everything."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) - {"errors", "challenge", "path", "last_n"} == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert problem["instance"] == answer.request.url.raw_path.partition(b"?")[0].decode()
    assert all(set(fault) == {"loc", "msg", "type"} for fault in problem.get("errors", []))
    return problem


REFUSED: dict[str, list[Any]] = {
    "title": ["", "  ", "x" * 201, None, 5, True, ["a"], "a\0b", "a\ud800b"],
    "description": ["x" * 10_001, 5, "\0", {}],
    "priority": ["urgent", "High", 1, None],
    "due_date": [
        *("2026-12-24", "2026-12-24T18:00:00", "2026-02-30T00:00:00Z", "10000-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-12-24T18:00:60Z", "tomorrow"),
        *("2026-W01-1T00:00:00Z", "20261224T180000Z", "2026-12-24T24:00:00Z", "2026-12-24T18:00:00+25:00"),
        *("2026-12-24T18:00:00.1234567Z", "", 1_700_000_000, 1.5, True, "２０２６-12-24T18:00:00Z"),
    ],
    "tags": ["home", ["a", "a"], ["a", " a "], [""], ["x" * 51], [1], [None], ["\0"], [str(n) for n in range(21)]],
    "completed": [None, 1, 0, "true", "false", []],
    "id": ["x", "urn:uuid:01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55", "01997f3e5a2b7c319d048b1f6f1c2a55", 7],
    **{name: ["2026-01-01T00:00:00Z"] for name in ("completed_at", "created_at", "updated_at")},
    **{name: [1] for name in ("version", "user_id", "owner", "deleted_at", "colour")},
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
async def test_a_task_that_cannot_be_meant_is_422_and_says_where(alice: Client, field: str, value: Any) -> None:
    answer = await alice.post("/v1/tasks", content=json.dumps({"title": "x", field: value}).encode(), headers=JSON)

    problem = assert_problem(answer, 422)
    assert problem["errors"][0]["loc"][:2] == ["body", field]
    assert await alice.titles() == []
    if field != "id":  # a patch refuses the same
        task = await alice.add("Kept")
        path = f"/v1/tasks/{task['id']}"
        patched = await alice.call("PATCH", path, content=json.dumps({field: value}).encode(), headers=JSON)
        assert_problem(patched, 422)
        assert (await alice.get(path)).json() == task


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("title", "x" * 200, "x" * 200),
        ("title", "  " + "y" * 200 + "  ", "y" * 200),
        ("title", "ﷺ" * 200, "ﷺ" * 200),  # its sort key unfolds to 18 times its length
        ("title", "👩‍👩‍👧‍👦 Ünï", "👩‍👩‍👧‍👦 Ünï"),
        ("description", "x" * 10_000, "x" * 10_000),
        ("description", "", ""),
        ("description", "  kept as it is \n", "  kept as it is \n"),
        ("due_date", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("due_date", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("due_date", "2026-12-24t18:00:00.5z", "2026-12-24T18:00:00.500000Z"),
        ("due_date", None, None),
        ("tags", [" a ", "A", "ä" * 50], ["a", "A", "ä" * 50]),
        ("tags", [str(n) for n in range(20)], [str(n) for n in range(20)]),
        ("tags", None, []),
        ("tags", ['quote"', "back\\slash", "new\nline"], ['quote"', "back\\slash", "new\nline"]),
    ],
)
async def test_what_is_just_allowed_is_kept(alice: Client, field: str, value: Any, stored: Any) -> None:
    task = await alice.add(**{"title": "x", field: value})

    assert task[field] == stored


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"title",
        b'"title"',
        b"[]",
        b"null",
        b'{"title": NaN}',
        b'{"title": "x", "completed": NaN}',
        b'{"title": "x", "due_date": Infinity}',
        b'{"title": "x", "priority": 1e999}',
        b'{"title": "\xff"}',
        b'{"title": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"title": "x", "\\ud800": 1}',
        b'{"title": "x", "n": ' + b"9" * 10_000 + b"}",
        b"\xef\xbb\xbf{}",
    ],
)
async def test_a_body_that_is_no_task_is_422(alice: Client, body: bytes) -> None:
    assert_problem(await alice.post("/v1/tasks", content=body, headers=JSON), 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_another_media_type_is_415(alice: Client, kind: str) -> None:
    answer = await alice.post("/v1/tasks", content=b'{"title": "x"}', headers={"Content-Type": kind})

    assert "application/json" in assert_problem(answer, 415)["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/merge-patch+json"])
async def test_json_by_any_of_its_names_is_taken(alice: Client, kind: str) -> None:
    answer = await alice.post("/v1/tasks", content=b'{"title": "x"}', headers={"Content-Type": kind})

    assert answer.status_code == 201


async def test_a_body_over_its_limit_is_413_and_one_below_is_read(alice: Client) -> None:
    large = json.dumps({"tasks": [{"title": "x", "description": "y" * 9_000}] * 200}).encode()  # 1.8 MB

    assert_problem(await alice.post("/v1/tasks", content=large, headers=JSON), 413)
    assert (await alice.post("/v1/tasks/batch", content=large, headers=JSON)).status_code == 201
    assert_problem(await alice.post("/v1/tasks/batch", content=large * 10, headers=JSON), 413)


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/auth/register", "/v1/nothing", "/v1/tasks/batch/delete"])
async def test_a_body_that_is_too_large_is_read_no_further(alice: Client, path: str) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 1_000_000

    answer = await alice.post(path, content=endless(), headers=JSON)

    assert_problem(answer, 404 if path == "/v1/nothing" else 413)
    assert sent <= 18


async def test_a_declared_length_over_the_limit_is_413_on_every_route(alice: Client) -> None:
    for method, path in (("POST", "/v1/tasks"), ("GET", "/v1/tasks"), ("POST", "/v1/nothing"), ("PUT", "/v1/tasks")):
        assert_problem(await alice.call(method, path, content=b"x" * 1_100_000, headers=JSON), 413)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/tasks/", "/v2/tasks", "/v1/tasks/x/y", "/docs/static/none.js"])
async def test_a_path_that_is_not_there_is_404(alice: Client, path: str) -> None:
    assert_problem(await alice.get(path), 404)


async def test_a_method_that_is_not_there_is_405_with_all_that_are(alice: Client) -> None:
    answer = await alice.call("PUT", "/v1/tasks")

    assert_problem(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    task = f"/v1/tasks/{uuid4()}"
    assert (await alice.call("POST", task)).headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"


async def test_a_problem_names_the_path_as_it_was_sent(alice: Client) -> None:
    for path in ("/v1/tags/home%2Fgarden%20%C3%BC", "/v1/tags/100%25", "/v1/tags/a+b:c@d"):
        assert assert_problem(await alice.delete(path), 404)["instance"] == path


async def test_options_tells_what_is_allowed(alice: Client) -> None:
    answer = await alice.call("OPTIONS", "/v1/tasks/batch/delete")

    assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")


async def test_a_batch_is_no_task_whose_id_is_batch(alice: Client) -> None:
    for method in ("GET", "DELETE"):
        answer = await alice.call(method, "/v1/tasks/batch")
        assert_problem(answer, 405)
        assert answer.headers["Allow"] == "OPTIONS, PATCH, POST"
    assert (await alice.call("OPTIONS", "/v1/tasks/batch")).headers["Allow"] == "OPTIONS, PATCH, POST"


async def test_head_answers_as_get_without_the_body(alice: Client) -> None:
    task = await alice.add("Read me")
    path = f"/v1/tasks/{task['id']}"

    named = {"X-Request-ID": "the-same-one"}
    got, head = await alice.get(path, headers=named), await alice.call("HEAD", path, headers=named)

    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers} == {**got.headers}
    assert (await alice.call("HEAD", f"/v1/tasks/{uuid4()}")).status_code == 404


@pytest.mark.parametrize("name", ["limit", "user_id", "x"])
async def test_a_parameter_that_a_route_does_not_have_is_422(alice: Client, name: str) -> None:
    task = await alice.add("Kept")

    for method, path, body in (
        ("GET", f"/v1/tasks/{task['id']}", None),
        ("PATCH", f"/v1/tasks/{task['id']}", {"title": "Lost"}),
        ("DELETE", f"/v1/tasks/{task['id']}", None),
        ("POST", "/v1/tasks", {"title": "Lost"}),
        ("GET", "/v1/me", None),
    ):
        answer = await alice.call(method, path, params={name: 1}, json=body)
        assert assert_problem(answer, 422)["errors"][0]["loc"] == ["query", name], (method, path)
    assert await alice.titles() == ["Kept"]


async def test_an_id_that_is_no_uuid_is_422(alice: Client) -> None:
    for text in ("1", "x", "01997f3e5a2b7c319d048b1f6f1c2a55", "{01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55}"):
        assert_problem(await alice.get(f"/v1/tasks/{text}"), 422)


async def test_an_answer_never_shows_what_was_sent(http: httpx.AsyncClient) -> None:
    """Input can hold a password."""
    for body in (
        {"email": "not an address", "password": "hunter2hunter2", "name": 5},
        {"password": ["hunter2hunter2"]},
    ):
        answer = await http.post("/v1/auth/register", json=body)
        assert_problem(answer, 422)
        assert "hunter2" not in answer.text
