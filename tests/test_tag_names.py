"""What a tag may be called, and what it and its colour may not be."""

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg import IntegrityError
from sqlalchemy import insert

from backend.scope import Scope
from backend.services.tag_query import TAGS
from tests.client import Client, Json
from tests.test_input import JSON, assert_problem
from tests.test_tags import listed, tags_of, url

MARKED = r"""a/b / //a a/ a/../b 50% %2F a?b=c #home a+b a;b a&b {tag} \ " merge merge/x batch 家/庭 $1"""
NASTY = [*MARKED.split(), "a b", "a\nb", "a\tb", "a\u2028b", "naïve", "nai\u0308ve", "👩‍👩‍👧‍👦", "x" * 50]


@pytest.mark.parametrize("tag", NASTY)
async def test_a_tag_may_have_any_name(alice: Client, tag: str) -> None:
    task = await alice.add("Task", tags=["a", tag, "b"])

    colored = await alice.patch(url(tag), {"color": "#3a7d44"})
    assert (colored.status_code, colored.json()) == (200, {"tag": tag, "color": "#3a7d44", "updated": 0})
    assert (tag, 1, "#3a7d44") in await listed(alice)
    assert (await alice.patch(url(tag), {"name": "plain"})).json()["updated"] == 1
    assert await tags_of(alice, task) == ["a", "plain", "b"]
    assert (await alice.patch("/v1/tags/plain", {"name": tag})).json()["tag"] == tag
    assert await tags_of(alice, task) == ["a", tag, "b"]
    assert (await alice.post("/v1/tags/merge", {"tags": [tag], "into": tag})).status_code == 200
    assert (await alice.delete(url(tag))).json() == {"updated": 1}
    assert (await alice.delete(url(tag))).json()["detail"] == "There is no such tag."


async def test_a_name_that_no_path_can_have_is_renamed_by_a_body(alice: Client) -> None:
    """Clients take `.` and `..` for steps in the path, however they are encoded (RFC 3986, section 5.2.4)."""
    task = await alice.add("Task", tags=[".", ".."])

    for dots, plain in ((".", "one"), ("..", "two")):
        assert (await alice.post("/v1/tags/merge", {"tags": [dots], "into": plain})).json()["updated"] == 1
    assert await tags_of(alice, task) == ["one", "two"]


async def test_names_come_through_a_server_as_they_were_meant(app: FastAPI, alice: Client) -> None:
    """The server decodes the path, and not the client that the other tests call the application with."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve([listening]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as http:
            afar = Client(http, alice.user_id, alice.token, alice.email)
            for tag in ("a/b", "//a", "%2F", "a?b=c", "a+b", "a\nb", "👩‍👩‍👧‍👦"):
                await alice.add("Task", tags=[tag])
                assert (await afar.patch(url(tag), {"color": "#3a7d44"})).json()["tag"] == tag
                assert (await afar.delete(url(tag))).json() == {"updated": 1}
            assert_problem(await afar.delete("/v1/tags/%ff"), 404)  # no UTF-8
        server.should_exit = True
        await serving


@pytest.mark.parametrize("path", ["%20", "x" * 51, "a%00b"])
async def test_a_path_that_can_be_no_tag_is_422(alice: Client, path: str) -> None:
    for answer in (await alice.patch(f"/v1/tags/{path}", {}), await alice.delete(f"/v1/tags/{path}")):
        assert assert_problem(answer, 422)["errors"][0]["loc"] == ["path", "tag"]


async def test_the_path_without_a_name_is_no_tag(alice: Client) -> None:
    assert_problem(await alice.delete("/v1/tags/"), 404)
    assert_problem(await alice.delete("/v1/tags"), 405)


async def test_what_a_path_allows_is_told(alice: Client) -> None:
    assert (
        assert_problem(await alice.post("/v1/tags/home", {}), 405)["detail"] == "Allowed here: DELETE, OPTIONS, PATCH."
    )
    told = (await alice.get("/v1/tags/merge")).headers["Allow"]
    assert told == "DELETE, OPTIONS, PATCH, POST"


REFUSED: dict[str, list[Any]] = {
    "name": ["", " ", "x" * 51, None, 5, ["a"], "a\0b", "a\ud800b"],
    "color": ["", "red", "3a7d44", "#3a7d4", "#3a7d444", "#3a7", "#3a7d4g", "#3a7d44 ", "#3a7d44\n", "#３a7d44", 5, []],
    "tag": ["home"],
    "version": [1],
    "count": [1],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
async def test_a_change_that_cannot_be_meant_is_422_and_says_where(alice: Client, field: str, value: Any) -> None:
    await alice.add("Task", tags=["home"])

    wrong = json.dumps({field: value}).encode()
    problem = assert_problem(await alice.call("PATCH", "/v1/tags/home", content=wrong, headers=JSON), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["body", field]]
    assert await listed(alice) == [("home", 1, None)]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"tags": [], "into": "a"}, ["tags"]),
        ({"tags": [str(n) for n in range(21)], "into": "a"}, ["tags"]),
        ({"tags": ["a", "a "], "into": "b"}, ["tags"]),
        ({"tags": [""], "into": "b"}, ["tags", 0]),
        ({"tags": "a", "into": "b"}, ["tags"]),
        ({"tags": None, "into": "b"}, ["tags"]),
        ({"tags": ["a"]}, ["into"]),
        ({"into": "a"}, ["tags"]),
        ({"tags": ["a"], "into": None}, ["into"]),
        ({"tags": ["a"], "into": " "}, ["into"]),
        ({"tags": ["a"], "into": "b", "color": "#000000"}, ["color"]),
    ],
)
async def test_a_merge_that_cannot_be_meant_is_422_and_says_where(alice: Client, body: Json, at: list[Any]) -> None:
    await alice.add("Task", tags=["a"])

    problem = assert_problem(await alice.post("/v1/tags/merge", body), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["body", *at]]
    assert await listed(alice) == [("a", 1, None)]


@pytest.mark.parametrize("query", ["merge=yes", "merge=1", "merge=", "merge=true&merge=true", "into=x"])
async def test_what_a_rename_cannot_be_asked_is_refused(alice: Client, query: str) -> None:
    await alice.add("Task", tags=["a", "b"])

    problem = assert_problem(await alice.patch(f"/v1/tags/a?{query}", {"name": "b"}), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["query", query.partition("=")[0]]]


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"color": "#3A7D44"}, "tags_color_sound"),
        ({"color": "red"}, "tags_color_sound"),
        ({"color": "#3a7d44\n"}, "tags_color_sound"),
        ({"name": ""}, "tags_name_length"),
        ({"name": "x" * 51}, "tags_name_length"),
        ({"name": "taken"}, "tags_name"),
        ({"version": 0}, "tags_version_positive"),
    ],
)
async def test_the_database_itself_refuses_what_no_colour_may_be(
    alice: Client, mine: Scope, values: Json, constraint: str
) -> None:
    await alice.add("Task", tags=["taken"])
    await alice.patch("/v1/tags/taken", {"color": "#000000"})
    row = {"user_id": mine.user_id, "id": mine.user_id, "version": 99, "name": "free", "color": "#3a7d44", **values}

    with pytest.raises(IntegrityError, match=f'"{constraint}"'):
        await mine.write(insert(TAGS).values(row).execution_options(crosses_users="by its own id"), {})
