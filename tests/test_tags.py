"""Tags as things: named anew, made one, coloured, taken away."""

from urllib.parse import quote

import pytest
from sqlalchemy import select

from backend.scope import Scope
from backend.services.tag_query import TAGS
from backend.services.task_criteria import TASKS
from backend.wall import OWNER
from tests.client import Client, Json, Statements
from tests.test_input import assert_problem


def url(tag: str) -> str:
    return f"/v1/tags/{quote(tag, safe='')}"


async def listed(client: Client) -> list[tuple[str, int, str | None]]:
    answer = await client.get("/v1/tags")
    assert answer.status_code == 200, answer.text
    return [(item["tag"], item["count"], item.get("color")) for item in answer.json()["items"]]


async def tags_of(client: Client, task: Json) -> list[str]:
    found: list[str] = (await client.get(f"/v1/tasks/{task['id']}")).json()["tags"]
    return found


async def all_tags(mine: Scope) -> dict[str, list[str]]:
    """By title, the trash included."""
    rows = await mine.read(select(TASKS.c.title, TASKS.c.tags).where(TASKS.c.user_id == OWNER), {})
    return {row.title: row.tags for row in rows}


async def test_all_tags_are_walked_by_cursor_in_one_order(alice: Client) -> None:
    """Of which some are as often used, and one has a colour alone, and one a space and a plus in it."""
    names = ["b", "a", "ä", "two words", "+", "B"]
    await alice.add_many(
        [{"title": "Task", "tags": names[: n + 1]} for n in range(3)] + [{"title": "T", "tags": names}]
    )
    await alice.add("Coloured", tags=["zero"])
    await alice.patch("/v1/tags/zero", {"color": "#000000"})
    await alice.patch(f"/v1/tasks/{(await alice.page(search='Coloured'))['items'][0]['id']}", {"tags": []})
    everything = (await alice.get("/v1/tags")).json()
    assert "next_cursor" not in everything

    page: Json = {"next_cursor": None}
    walked = []
    while "next_cursor" in page:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = (await alice.get("/v1/tags", params={"limit": 2, **cursor})).json()
        walked += page["items"]

    assert walked == everything["items"]
    assert [(item["tag"], item["count"]) for item in walked] == [
        *(("b", 4), ("a", 3), ("ä", 2)),
        *(("+", 1), ("B", 1), ("two words", 1), ("zero", 0)),
    ]
    assert_problem(await alice.get("/v1/tags?cursor=zzz"), 422)


async def test_a_renamed_tag_has_its_new_name_in_every_task_at_its_place(alice: Client, bob: Client) -> None:
    his = await bob.add("His", tags=["home"])
    first = await alice.add("First", tags=["garden", "home", "soon"])
    other = await alice.add("Other", tags=["garden", "Home"])
    second = await alice.add("Second", tags=["home"])

    answer = await alice.patch("/v1/tags/home", {"name": " household "})

    assert (answer.status_code, answer.json()) == (200, {"tag": "household", "color": None, "updated": 2})
    assert await tags_of(alice, first) == ["garden", "household", "soon"]
    assert await tags_of(alice, second) == ["household"]
    assert (await alice.get(f"/v1/tasks/{other['id']}")).json() == other  # case tells
    assert (await bob.get(f"/v1/tasks/{his['id']}")).json() == his
    assert await alice.titles(search="household", sort="created") == ["Second", "First"]
    assert await alice.titles(tags=["household"]) == ["Second", "First"]
    assert_problem(await alice.patch("/v1/tags/home", {"name": "x"}), 404)


async def test_every_task_that_changes_has_a_number_of_its_own_in_the_order_that_there_was(alice: Client) -> None:
    made = await alice.add_many([{"title": f"Task {n}", "tags": ["home"] if n % 3 else []} for n in range(30)])
    await alice.patch(f"/v1/tasks/{made[1]['id']}", {"title": "Last changed"})

    answer = await alice.patch("/v1/tags/home", {"name": "house"})

    found = {task["id"]: task for task in await alice.walk()}
    before = {**{task["id"]: task for task in made}, made[1]["id"]: {**made[1], "version": 31}}
    changed = sorted((task for task in found.values() if task["tags"]), key=lambda task: before[task["id"]]["version"])
    versions = [task["version"] for task in changed]
    assert len(versions) == answer.json()["updated"] == 20
    assert versions == sorted(set(versions))
    assert versions[0] > 31
    assert int(answer.headers["Tend-Change"]) == versions[-1] == await number(alice)
    assert all(task["updated_at"] > before[task["id"]]["updated_at"] for task in changed)
    assert all(task == before[task["id"]] for task in found.values() if not task["tags"])


async def number(client: Client) -> int:
    """How far the client's changes have come."""
    return int((await client.get("/v1/tasks")).headers["Tend-Change"])


async def test_tasks_in_the_trash_are_renamed_too_and_do_not_make_a_tag_be_there(alice: Client, mine: Scope) -> None:
    gone = await alice.add("Gone", tags=["home", "old"])
    await alice.add("Kept", tags=["home"])
    await alice.delete(f"/v1/tasks/{gone['id']}")

    assert_problem(await alice.patch("/v1/tags/old", {"name": "x"}), 404)
    assert_problem(await alice.delete("/v1/tags/old"), 404)
    renamed = await alice.patch("/v1/tags/home", {"name": "old"})

    assert renamed.json()["updated"] == 2
    assert await all_tags(mine) == {"Gone": ["old"], "Kept": ["old"]}
    assert await listed(alice) == [("old", 1, None)]


async def test_a_name_that_is_another_tag_s_is_a_conflict_unless_they_are_to_be_one(alice: Client) -> None:
    both = await alice.add("Both", tags=["a", "home", "b", "house"])
    turned = await alice.add("Turned", tags=["house", "home"])
    one = await alice.add("One", tags=["home", "c"])

    refused = await alice.patch("/v1/tags/home", {"name": "house"})
    assert "merge" in assert_problem(refused, 409)["detail"]
    assert_problem(await alice.patch("/v1/tags/home?merge=false", {"name": "house"}), 409)
    assert await tags_of(alice, one) == ["home", "c"]
    merged = await alice.patch("/v1/tags/home?merge=true", {"name": "house"})

    assert merged.json() == {"tag": "house", "color": None, "updated": 3}
    assert await tags_of(alice, both) == ["a", "house", "b"]
    assert await tags_of(alice, turned) == ["house"]
    assert await tags_of(alice, one) == ["house", "c"]


async def test_a_name_that_only_a_colour_keeps_is_a_conflict_as_well(alice: Client) -> None:
    task = await alice.add("Task", tags=["home", "empty"])
    await alice.patch("/v1/tags/empty", {"color": "#000000"})
    await alice.patch(f"/v1/tasks/{task['id']}", {"tags": ["home"]})

    assert await listed(alice) == [("home", 1, None), ("empty", 0, "#000000")]
    assert_problem(await alice.patch("/v1/tags/home", {"name": "empty"}), 409)
    assert (await alice.patch("/v1/tags/empty", {"name": "none"})).json()["updated"] == 0
    assert await listed(alice) == [("home", 1, None), ("none", 0, "#000000")]


async def test_several_tags_become_one_in_the_first_of_their_places(alice: Client) -> None:
    made = await alice.add_many(
        [
            {"title": "1", "tags": ["x", "c", "y", "a", "b"]},
            {"title": "2", "tags": ["b", "A"]},
            {"title": "3", "tags": ["one", "z", "a"]},
            {"title": "4", "tags": ["z"]},
        ]
    )

    answer = await alice.post("/v1/tags/merge", {"tags": ["a", "b", "c"], "into": "one"})

    assert answer.json() == {"tag": "one", "color": None, "updated": 3}
    assert [await tags_of(alice, task) for task in made] == [["x", "one", "y"], ["one", "A"], ["one", "z"], ["z"]]


async def test_into_may_be_one_of_those_that_become_one_and_a_tag_alone_stays_as_it_is(alice: Client) -> None:
    task = await alice.add("Task", tags=["a", "b"])

    same = await alice.post("/v1/tags/merge", {"tags": ["a"], "into": "a"})
    assert same.json() == {"tag": "a", "color": None, "updated": 0}
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task
    merged = await alice.post("/v1/tags/merge", {"tags": ["a", "b"], "into": "b"})

    assert merged.json()["updated"] == 1
    assert await tags_of(alice, task) == ["b"]


async def test_of_tags_to_merge_that_are_not_there_each_is_named_and_nothing_changes(
    alice: Client, bob: Client
) -> None:
    await bob.add("His", tags=["his"])
    task = await alice.add("Task", tags=["a"])

    problem = assert_problem(await alice.post("/v1/tags/merge", {"tags": ["no", "a", "his"], "into": "b"}), 404)

    assert [fault["loc"] for fault in problem["errors"]] == [["body", "tags", 0], ["body", "tags", 2]]
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_twenty_tags_become_one(alice: Client) -> None:
    names = [f"tag {n}" for n in range(20)]
    task = await alice.add("Task", tags=names)

    assert (await alice.post("/v1/tags/merge", {"tags": names, "into": "one"})).json()["updated"] == 1
    assert await tags_of(alice, task) == ["one"]


async def test_a_deleted_tag_is_off_every_task_and_its_colour_is_forgotten(alice: Client, mine: Scope) -> None:
    await alice.add_many([{"title": "Two", "tags": ["a", "home", "b"]}, {"title": "One", "tags": ["home"]}])
    gone = await alice.add("Gone", tags=["home", "c"])
    await alice.delete(f"/v1/tasks/{gone['id']}")
    await alice.patch("/v1/tags/home", {"color": "#3a7d44"})

    answer = await alice.delete("/v1/tags/home")

    assert (answer.status_code, answer.json()) == (200, {"updated": 3})
    assert await all_tags(mine) == {"Two": ["a", "b"], "One": [], "Gone": ["c"]}
    assert await listed(alice) == [("a", 1, None), ("b", 1, None)]
    assert_problem(await alice.delete("/v1/tags/home"), 404)
    await alice.add("Again", tags=["home"])
    assert ("home", 1, None) in await listed(alice)


@pytest.mark.parametrize("sent", ["#3a7d44", "#3A7D44", "#3A7d44"])
async def test_a_colour_is_kept_in_lower_case_and_null_clears_it(alice: Client, sent: str) -> None:
    task = await alice.add("Task", tags=["home"])

    colored = await alice.patch("/v1/tags/home", {"color": sent})
    assert colored.json() == {"tag": "home", "color": "#3a7d44", "updated": 0}
    assert int(colored.headers["Tend-Change"]) == await number(alice)
    again = await alice.patch("/v1/tags/home", {"color": "#ffffff"})
    assert await listed(alice) == [("home", 1, "#ffffff")]
    cleared = await alice.patch("/v1/tags/home", {"color": None})

    assert [answer.json()["color"] for answer in (again, cleared)] == ["#ffffff", None]
    assert await listed(alice) == [("home", 1, None)]
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_a_colour_goes_where_its_tag_goes_and_the_own_one_stays(alice: Client) -> None:
    await alice.add("Task", tags=["a", "b", "c", "d"])
    for tag, color in (("b", "#bbbbbb"), ("c", "#cccccc")):
        await alice.patch(url(tag), {"color": color})

    assert (await alice.patch("/v1/tags/b", {"name": "B"})).json()["color"] == "#bbbbbb"
    kept = await alice.patch("/v1/tags/B?merge=true", {"name": "c"})
    assert kept.json()["color"] == "#cccccc"
    merged = await alice.post("/v1/tags/merge", {"tags": ["a", "c"], "into": "d"})
    assert merged.json()["color"] == "#cccccc"
    both = await alice.patch("/v1/tags/d", {"name": "e", "color": "#eeeeee"})

    assert both.json() == {"tag": "e", "color": "#eeeeee", "updated": 1}
    assert await listed(alice) == [("e", 1, "#eeeeee")]


async def test_the_row_of_a_colour_keeps_its_id_when_the_tag_is_renamed(alice: Client, mine: Scope) -> None:
    await alice.add("Task", tags=["a", "b"])
    await alice.patch("/v1/tags/a", {"color": "#aaaaaa"})
    await alice.patch("/v1/tags/b", {"color": "#bbbbbb"})
    rows = select(TAGS).where(TAGS.c.user_id == OWNER).order_by(TAGS.c.created_at)
    first, second = await mine.read(rows, {})

    await alice.patch("/v1/tags/a", {"name": "c"})
    await alice.patch("/v1/tags/b?merge=true", {"name": "c"})

    stays, goes = await mine.read(rows, {})
    assert (stays.id, stays.name, stays.color, stays.deleted_at) == (first.id, "c", "#aaaaaa", None)
    assert (goes.id, goes.name, goes.deleted_at is None) == (second.id, "b", False)
    assert goes.version > stays.version > second.version


async def test_a_tag_that_no_task_and_no_colour_keeps_is_not_there(alice: Client, bob: Client) -> None:
    await bob.add("His", tags=["his"])
    await bob.patch("/v1/tags/his", {"color": "#3a7d44"})

    for tag in ("his", "none"):
        for body in ({"name": "x"}, {"color": "#3a7d44"}, {"color": None}, {"name": tag}, {}):
            assert assert_problem(await alice.patch(url(tag), body), 404)["detail"] == "There is no such tag."
        assert_problem(await alice.delete(url(tag)), 404)
    assert await listed(alice) == []
    assert await listed(bob) == [("his", 1, "#3a7d44")]


@pytest.mark.parametrize("body", [{}, {"name": "home"}, {"name": " home "}])
async def test_a_patch_that_says_nothing_new_changes_nothing_and_makes_no_version(alice: Client, body: Json) -> None:
    task = await alice.add("Task", tags=["home"])
    await alice.patch("/v1/tags/home", {"color": "#3a7d44"})
    before = await number(alice)

    answer = await alice.patch("/v1/tags/home", body)

    assert (answer.status_code, answer.json()) == (200, {"tag": "home", "color": "#3a7d44", "updated": 0})
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task
    assert await number(alice) == before


async def test_each_route_asks_the_database_as_often_as_it_must(alice: Client, statements: Statements) -> None:
    await alice.add_many([{"title": f"Task {n}", "tags": ["a", "b", "c", "d"]} for n in range(50)])
    count, look, retag = "UPDATE sync_state", "SELECT anon_1.name", "WITH changed AS"
    insert, change = "WITH door AS", "UPDATE tags"

    for method, path, body, asked in (
        ("GET", "/v1/tags", None, ["SELECT sync_state.seq"]),
        ("PATCH", "/v1/tags/a", {}, [look]),
        ("PATCH", "/v1/tags/a", {"color": "#000000"}, [count, look, insert]),
        ("PATCH", "/v1/tags/a", {"color": "#111111"}, [count, look, change]),
        ("PATCH", "/v1/tags/b", {"name": "x"}, [count, look, count, retag]),
        ("PATCH", "/v1/tags/a", {"name": "y"}, [count, look, count, retag, change]),
        ("PATCH", "/v1/tags/a", {"name": "z"}, [count, look]),
        ("POST", "/v1/tags/merge", {"tags": ["x", "c"], "into": "m"}, [count, look, count, retag]),
        ("DELETE", "/v1/tags/m", None, [count, look, count, retag]),
        ("DELETE", "/v1/tags/y", None, [count, look, change, count, retag]),
    ):
        statements.clear()
        await alice.call(method, path, **({"json": body} if body is not None else {}))
        assert [next(name for name in (*asked, sql) if sql.startswith(name)) for sql in statements] == asked, path
