"""What comes first in a search, each case with its reason."""

from itertools import permutations
from typing import NamedTuple

import pytest
from sqlalchemy import text

from backend.state import State
from tests.client import Client, Json

WORDS = " ".join(f"word{n}" for n in range(200))


class Case(NamedTuple):
    reason: str
    search: str
    best_first: list[Json]
    ages: list[int] | None = None  # years
    fuzzy: bool = False


CASES = [
    Case(
        "the title says what a task is, a tag what it belongs to, a description says much",
        "figs",
        [{"title": "figs"}, {"title": "water", "tags": ["figs"]}, {"title": "water", "description": "figs"}],
    ),
    Case(
        "no length makes a tag more than a title",
        "figs",
        [{"title": "water the figs", "description": WORDS}, {"title": "x", "tags": ["figs"]}],
    ),
    Case(
        "no length makes a description more than a tag",
        "figs",
        [{"title": "water", "tags": ["figs"], "description": WORDS}, {"title": "x", "description": "figs"}],
    ),
    Case(
        "a short title that is hit is hit more than a long one",
        "figs",
        [{"title": "water figs"}, {"title": "ask the neighbours whether they would water the palms or the figs"}],
    ),
    Case(
        "a description makes a task long",
        "figs",
        [{"title": "figs"}, {"title": "figs", "description": WORDS}],
    ),
    Case(
        "what says it in two places is more about it",
        "figs",
        [{"title": "figs", "tags": ["figs"]}, {"title": "figs", "tags": ["palms"]}],
    ),
    Case(
        "two words side by side are more likely meant together",
        "kitchen figs",
        [{"title": "a kitchen figs now then"}, {"title": "a kitchen now then figs"}],
    ),
    Case(
        "two words in the title are more than two side by side in the description, however far apart",
        "kitchen figs",
        [
            {"title": "kitchen one two three four five six seven eight nine ten eleven twelve thirteen figs"},
            {"title": "x", "description": "kitchen figs"},
        ],
    ),
    Case(
        "one word in the title is more than none",
        "kitchen figs",
        [{"title": "figs", "description": "kitchen"}, {"title": "x", "description": "kitchen figs"}],
    ),
    Case(
        "with `or`, what says both is more than what says one",
        "figs or lemons",
        [{"title": "figs lemons"}, {"title": "figs palms"}],
    ),
    Case(
        "what must not be there does not make the rest equal",
        "figs -dead",
        [{"title": "figs"}, {"title": "water", "tags": ["figs"]}, {"title": "water", "description": "figs"}],
    ),
    Case(
        "a phrase in the title is more than in the description",
        '"the kitchen figs"',
        [{"title": "the kitchen figs"}, {"title": "water", "description": "the kitchen figs"}],
    ),
    Case(
        "what is done is looked for less often",
        "figs",
        [{"title": "water figs"}, {"title": "water figs", "completed": True}],
    ),
    Case(
        "but a title is more than being open",
        "figs",
        [{"title": "water figs", "completed": True}, {"title": "water", "tags": ["figs"]}],
    ),
    Case(
        "of two that are alike, the newer",
        "figs",
        [{"title": "water figs"}, {"title": "water figs"}, {"title": "water figs"}],
        ages=[0, 1, 5],
    ),
    Case(
        "but a title is more than ten years",
        "figs",
        [{"title": "water figs"}, {"title": "water", "description": "figs"}],
        ages=[10, 0],
    ),
    Case(
        "and a short title more than a year",
        "figs",
        [{"title": "figs"}, {"title": "ask the neighbours whether they would water the figs"}],
        ages=[1, 0],
    ),
    Case(
        "a beginning is a word like any other",
        "quart*",
        [
            {"title": "quarterly"},
            {"title": "x", "tags": ["quartz"]},
            {"title": "x", "description": "quarterly"},
        ],
    ),
    Case(
        "accents make no difference, to the order neither",
        "über",
        [{"title": "Uber"}, {"title": "x", "tags": ["über"]}, {"title": "x", "description": "über"}],
    ),
    Case(
        "other forms count like the word itself",
        "watering",
        [{"title": "water"}, {"title": "x", "description": "watering watering"}],
    ),
    Case(
        "the word as typed is more than its likes, wherever it stands",
        "kitten",
        [
            {"title": "kitten"},
            {"title": "x", "description": "kitten"},
            {"title": "mitten"},
        ],
        fuzzy=True,
    ),
    Case(
        "likes come in the order of their places",
        "kitchne",
        [{"title": "kitchen"}, {"title": "x kitchens", "description": WORDS}, {"title": "x", "description": "kitchen"}],
        fuzzy=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.reason for case in CASES])
async def test_the_best_comes_first(alice: Client, state: State, case: Case) -> None:
    """In whichever order they were made: the newer of two that are equal would come first."""
    orders = list(permutations(range(len(case.best_first))))
    for order in (orders[0], orders[-1]):
        made = await alice.add_many([case.best_first[n] for n in order])
        place = {task["id"]: n for task, n in zip(made, order, strict=True)}
        if case.ages:
            for task_id, n in place.items():
                await age(state, task_id, case.ages[n])

        page = await alice.page(search=case.search, **({"fuzzy": "true"} if case.fuzzy else {}))

        assert [place[task["id"]] for task in page["items"]] == list(range(len(place))), page["items"]
        assert (await alice.post("/v1/tasks/batch/delete", {"ids": list(place)})).status_code == 200


async def age(state: State, task_id: str, years: int) -> None:
    change = "created_at = timestamptz '2026-01-01Z' - make_interval(years => :years), version = version + 1000"
    async with state.database.engine.connect() as connection:
        await connection.execute(
            text(f"UPDATE tasks SET {change} WHERE id = :id").execution_options(crosses_users="makes them old"),
            {"years": years, "id": task_id},
        )
        await connection.exec_driver_sql("UPDATE sync_state SET seq = seq + 1000")


async def test_a_search_of_nothing_but_negatives_has_an_order_all_the_same(alice: Client) -> None:
    made = await alice.add_many([{"title": "figs"}] * 5 + [{"title": "dead"}])
    best_first = await alice.page(search="-dead")

    assert best_first["total"] == 5
    assert {task["id"] for task in best_first["items"]} == {task["id"] for task in made[:5]}
    assert await alice.walk(search="-dead", limit=2) == best_first["items"]


@pytest.mark.parametrize("year", [1, 1970, 2026, 9999])
async def test_any_age_has_a_rank(alice: Client, state: State, year: int) -> None:
    await alice.add_many([{"title": "figs"}] * 3)
    async with state.database.engine.connect() as connection:
        await connection.execute(
            text(
                "UPDATE tasks SET created_at = make_timestamptz(:year, 1, 1, 0, 0, 0, 'UTC'), version = version + 1000"
            ).execution_options(crosses_users="makes them old"),
            {"year": year},
        )

    for search in ("figs", "-dead", "figs -dead", "figs or dead", '"figs"'):
        assert len(await alice.walk(search=search, limit=1)) == 3
