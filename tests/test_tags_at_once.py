"""Tags that several change at once: no update is lost, and one of many wins."""

import asyncio
from collections.abc import Awaitable

import httpx

from backend.schemas.tags import TagPatch
from backend.scope import Scope
from backend.services import tags
from tests.client import Client
from tests.test_door import counter, rival, rivals_change
from tests.test_tags import listed, tags_of, url


async def test_a_rename_that_waited_keeps_what_the_rival_made_of_the_tags(alice: Client, mine: Scope) -> None:
    task = await alice.add("Task", tags=["home", "old"])
    await alice.add("Other", tags=["home"])
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task["id"], tags=["new", "home"])
        waiting = asyncio.create_task(tags.edit(mine, "home", TagPatch(name="house"), merging=False))
        await asyncio.sleep(0.2)
        assert not waiting.done()

    assert (await waiting).updated == 2
    assert await tags_of(alice, task) == ["new", "house"]
    assert (await alice.page(sort="updated"))["items"][0]["version"] == await counter(mine)


async def test_a_rename_that_waited_finds_no_tag_that_the_rival_took_off(alice: Client, mine: Scope) -> None:
    task = await alice.add("Task", tags=["home"])
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task["id"], tags=["taken"])
        waiting = [
            asyncio.create_task(alice.patch("/v1/tags/home", {"name": "house"})),
            asyncio.create_task(alice.patch("/v1/tags/taken", {"name": "found"})),
        ]
        await asyncio.sleep(0.2)

    assert [(await each).status_code for each in waiting] == [404, 200]


async def later(milliseconds: int, request: Awaitable[httpx.Response]) -> httpx.Response:
    await asyncio.sleep(milliseconds / 1_000)
    return await request


async def test_no_update_is_lost_between_renames_and_changes_of_the_same_task(alice: Client) -> None:
    task = await alice.add("Task", tags=["a0", "old"])
    path = f"/v1/tasks/{task['id']}"
    for n in range(30):
        old, new = f"a{n}", f"a{n + 1}"
        renamed, *changed = await asyncio.gather(
            alice.patch(url(old), {"name": new}),
            later(n % 6, alice.patch(path, {"tags": [str(n), old]})),
            later(n % 7, alice.patch(path, {"title": f"Title {n}"})),
        )
        assert [answer.status_code for answer in (renamed, *changed)] == [200] * 3
        now = (await alice.get(path)).json()

        came_after = changed[0].json()["version"] > int(renamed.headers["Tend-Change"])
        assert now["tags"] == [str(n), old if came_after else new]
        assert now["title"] == f"Title {n}"
        await alice.patch(path, {"tags": [new]})


async def test_of_many_renames_of_one_tag_at_once_one_wins(alice: Client) -> None:
    await alice.add_many([{"title": f"Task {n}", "tags": ["home"]} for n in range(10)])

    answers = await asyncio.gather(*(alice.patch("/v1/tags/home", {"name": f"by {n}"}) for n in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 7
    winner = next(answer.json()["tag"] for answer in answers if answer.status_code == 200)
    assert await listed(alice) == [(winner, 10, None)]


async def test_of_many_tags_renamed_to_one_name_at_once_one_wins(alice: Client) -> None:
    await alice.add("Task", tags=[f"tag {n}" for n in range(6)])

    answers = await asyncio.gather(*(alice.patch(url(f"tag {n}"), {"name": "home"}) for n in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5


async def test_of_many_colours_at_once_one_is_kept(alice: Client) -> None:
    await alice.add("Task", tags=["home"])

    answers = await asyncio.gather(*(alice.patch("/v1/tags/home", {"color": f"#00000{n}"}) for n in range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len(await listed(alice)) == 1
