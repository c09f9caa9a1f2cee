"""Walking cursors while others write: every task that did not change is seen exactly once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest

from tests.client import Client, Json

SORTS = ["created", "updated", "title", "priority", "due_date", "relevance"]
EPOCH = datetime(2026, 5, 10, tzinfo=UTC)


def task(n: int, kind: str) -> Json:
    """Many are equal in each order, so that pages end among equals; some are undated."""
    return {
        "title": f"{kind} {chr(97 + n % 5)}",
        "description": "figs " * (n % 4),
        "priority": ("low", "medium", "high")[n % 3],
        "due_date": (EPOCH + timedelta(days=n % 4)).isoformat() if n % 3 else None,
    }


async def stay_and_move(alice: Client) -> tuple[set[str], list[str]]:
    """Tasks that are left alone and tasks that are not, mixed in every order."""
    made = [await alice.add_many([task(n, "figs"), task(n, "figs")]) for n in range(16)]
    return {stays["id"] for stays, _ in made}, [moves["id"] for _, moves in made]


# To the one end of every order, and to the other.
MOVES: list[Json] = [
    {"title": "figs figs figs", "priority": "high", "due_date": "2001-01-01T00:00:00Z", "description": None},
    {"title": "zebra", "priority": "low", "due_date": None, "description": "figs"},
    {"title": "aardvark of the figs", "due_date": "2999-01-01T00:00:00Z", "completed": True},
]


def seen_once(seen: list[str], stayed: set[str]) -> None:
    times = Counter(own for own in seen if own in stayed)
    assert times == Counter(stayed)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_writes_between_pages_hide_and_repeat_nothing_that_did_not_change(
    alice: Client, sort: str, order: str
) -> None:
    stayed, movers = await stay_and_move(alice)
    asked = {"sort": sort, "order": order, "search": "figs", "limit": 3}
    moves = cycle(MOVES)
    seen: list[str] = []
    cursor = None

    for turn in range(100):
        page = await alice.page(**asked, **({"cursor": cursor} if cursor else {}))
        seen += [task["id"] for task in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        # The last that was seen goes: a cursor is a place, not a task. Then others move over it.
        if page["items"][-1]["id"] in movers:
            movers.remove(page["items"][-1]["id"])
            assert (await alice.delete(f"/v1/tasks/{page['items'][-1]['id']}")).status_code == 204
        if turn < 10:
            await alice.add_many([task(turn, "figs"), {"title": "aardvark figs", "priority": "high"}])
        if movers:
            assert (await alice.patch(f"/v1/tasks/{movers[turn % len(movers)]}", next(moves))).status_code == 200
    else:
        pytest.fail("the walk does not end")

    seen_once(seen, stayed)


async def test_a_walk_goes_on_where_the_task_that_it_stopped_at_was_deleted(alice: Client) -> None:
    await alice.add_many([{"title": title} for title in "abcd"])
    first = await alice.page(sort="title", limit=2)
    await alice.delete(f"/v1/tasks/{first['items'][-1]['id']}")

    assert await alice.titles(sort="title", cursor=first["next_cursor"]) == ["c", "d"]


async def test_a_walk_goes_on_where_the_task_that_it_stopped_at_was_moved_from(alice: Client) -> None:
    await alice.add_many([{"title": title} for title in "abcd"])
    first = await alice.page(sort="title", limit=2)
    await alice.patch(f"/v1/tasks/{first['items'][-1]['id']}", {"title": "z"})

    assert await alice.titles(sort="title", cursor=first["next_cursor"]) == ["c", "d", "z"]


async def test_a_task_that_leaves_the_filter_behind_the_walk_shifts_nothing(alice: Client) -> None:
    await alice.add_many([{"title": title} for title in "abcd"])
    first = await alice.page(sort="title", status="pending", limit=2)
    for done in first["items"]:
        await alice.patch(f"/v1/tasks/{done['id']}", {"completed": True})

    assert await alice.titles(sort="title", status="pending", cursor=first["next_cursor"]) == ["c", "d"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_a_writer_at_the_same_time_hides_and_repeats_nothing_that_did_not_change(
    alice: Client, sort: str, order: str
) -> None:
    stayed, movers = await stay_and_move(alice)
    walked = asyncio.Event()
    writes = 0

    async def write() -> None:
        nonlocal writes
        for mover, move in zip(cycle(movers), cycle(MOVES), strict=False):
            if walked.is_set():
                return
            assert (await alice.patch(f"/v1/tasks/{mover}", move)).status_code == 200
            writes += 1
            if writes <= 20:  # fewer than the walk takes up, or it would never reach the end of new tasks
                await alice.add_many([task(writes, "figs")])

    async def another_write() -> None:
        before = writes
        while writes == before:  # noqa: ASYNC110 - the writer knows of no event
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as both:
        both.create_task(write())
        seen = await alice.walk(another_write, sort=sort, order=order, search="figs", limit=3)
        walked.set()

    assert writes > 1
    seen_once([task["id"] for task in seen], stayed)
