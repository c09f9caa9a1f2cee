"""The listing against an oracle in plain Python, over random tasks, filters, sorts and pages."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.state import State
from tests.client import Client, Json, fresh_account

numbers = count()

# What each title is ordered by, written out: the rule is not to be tested with itself.
KEYS = {
    "fig": "fig",
    "FÍG": "fig",
    "fi\u0301g": "fig",
    "Žebra": "zebra",
    "Straße": "strasse",
    "STRASSE": "strasse",
    "éclair": "eclair",
    "Ärger 2": "arger 2",
    "arger 10": "arger 10",
    "🍋": "🍋",
    "фига": "фига",
    "zebra, fig": "zebra, fig",
}
RANK = {"low": 0, "medium": 1, "high": 2}
TAGS = ["home", "Home", "naïve", "a b"]
# Around the two ends of a day in Berlin, which begins at 22:00 UTC; none is near the time of the test.
DAY = "2031-05-10"
START, END = datetime(2031, 5, 9, 22, tzinfo=UTC), datetime(2031, 5, 10, 22, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
DUE = [None, START - MOMENT, START, END - MOMENT, END, datetime(2001, 1, 1, tzinfo=UTC)]

tasks = st.fixed_dictionaries(
    {
        "title": st.sampled_from(list(KEYS)),
        "priority": st.sampled_from(list(RANK)),
        "due_date": st.sampled_from([due and due.isoformat() for due in DUE]),
        "tags": st.lists(st.sampled_from(TAGS), unique=True, max_size=3),
        "completed": st.booleans(),
    }
)
some_tags = st.lists(st.sampled_from(TAGS), unique=True, min_size=1, max_size=2)
instants = st.sampled_from([due.isoformat() for due in DUE if due])
days = st.sampled_from([DAY, "2031-05-11"])
filters = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["all", "pending", "completed"]),
        "priority": st.lists(st.sampled_from(list(RANK)), unique=True, min_size=1, max_size=3),
        "due_date": instants | days,
        "due_before": instants | days,
        "due_after": instants | days,
        "overdue": st.sampled_from(["true", "false"]),
        "has_due_date": st.sampled_from(["true", "false"]),
        "tags": some_tags,
        "any_tags": some_tags,
        "not_tags": some_tags,
        "search": st.sampled_from(["fig", "-fig", "strasse zebra", "zebra or ARGER"]),
    },
)


class Asked(NamedTuple):
    filters: Json
    sort: str
    order: str | None
    limit: int
    page: int


asked = st.builds(
    Asked,
    filters,
    st.sampled_from(["created", "updated", "title", "priority", "due_date", "position"]),
    st.sampled_from([None, "asc", "desc"]),
    st.integers(1, 6),
    st.integers(1, 5),
)


def span(text: str) -> tuple[datetime, datetime]:
    """The first instant that is meant, and the first that is not."""
    if "T" in text:
        return datetime.fromisoformat(text), datetime.fromisoformat(text) + MOMENT
    later = timedelta(days=(datetime.fromisoformat(text) - datetime.fromisoformat(DAY)).days)
    return START + later, END + later


def says(title: str, search: str) -> bool:
    words = set(KEYS[title].replace(",", "").split())
    match search:
        case "-fig":
            return "fig" not in words
        case "strasse zebra":
            return {"strasse", "zebra"} <= words
        case "zebra or ARGER":
            return bool({"zebra", "arger"} & words)
    return search in words


def fits(task: Json, wanted: Json) -> bool:
    due = task["due_date"] and datetime.fromisoformat(task["due_date"])
    late = bool(due and due < datetime.now(UTC) and not task["completed"])
    has = set(task["tags"])
    checks: dict[str, Callable[[Any], Any]] = {
        "status": lambda status: status == "all" or task["completed"] == (status == "completed"),
        "priority": lambda these: task["priority"] in these,
        "due_date": lambda text: due and span(text)[0] <= due < span(text)[1],
        "due_before": lambda text: due and due < span(text)[0],
        "due_after": lambda text: due and due >= span(text)[0],
        "overdue": lambda truth: late == (truth == "true"),
        "has_due_date": lambda truth: bool(due) == (truth == "true"),
        "tags": lambda these: set(these) <= has,
        "any_tags": lambda these: bool(set(these) & has),
        "not_tags": lambda these: not set(these) & has,
        "search": lambda search: says(task["title"], search),
    }
    return all(checks[name](value) for name, value in wanted.items())


def ordered(
    tasks: list[Json], sort: str, order: str | None, title_key: Callable[[str], str] = KEYS.__getitem__
) -> list[Json]:
    falling = order == "desc" if order else sort in {"created", "updated", "priority"}
    keys: dict[str, Any] = {
        "created": lambda task: task["created_at"],
        "updated": lambda task: task["version"],
        "title": lambda task: title_key(task["title"]),
        "priority": lambda task: RANK[task["priority"]],
        "due_date": lambda task: task["due_date"] or "",
        "position": lambda task: task["position"],
    }
    found = sorted(tasks, key=lambda task: (keys[sort](task), task["id"]), reverse=falling)
    if sort == "due_date":
        found.sort(key=lambda task: task["due_date"] is None)
    return found


@given(
    batches=st.lists(st.lists(tasks, min_size=1, max_size=8), min_size=1, max_size=2),
    edits=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["delete", "complete", "rename"])), max_size=4),
    questions=st.lists(asked, min_size=3, max_size=3),
)
@settings(max_examples=40)
async def test_the_listing_says_what_the_oracle_says(
    http: httpx.AsyncClient,
    state: State,
    batches: list[list[Json]],
    edits: list[tuple[int, str]],
    questions: list[Asked],
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    living = {task["id"]: task for batch in batches for task in await client.add_many(batch)}
    await edit(client, living, edits)

    for question in questions:
        wanted = {**question.filters, "tz": "Europe/Berlin", "sort": question.sort}
        if question.order:
            wanted["order"] = question.order
        matching = [task for task in living.values() if fits(task, question.filters)]
        expected = ordered(matching, question.sort, question.order)
        start, limit = (question.page - 1) * question.limit, question.limit

        page = await client.page(**wanted, page=question.page, limit=limit)

        assert page["items"] == expected[start : start + limit]
        assert page["total"] == len(expected)
        assert (page["next_cursor"] is None) == (start + limit >= len(expected))
        assert await client.walk(**wanted, limit=limit) == expected


async def edit(client: Client, living: dict[str, Json], edits: list[tuple[int, str]]) -> None:
    for place, change in edits:
        if not living:
            return
        own = list(living)[place % len(living)]
        if change == "delete":
            assert (await client.delete(f"/v1/tasks/{own}")).status_code == 204
            del living[own]
        else:
            patch = {"completed": True} if change == "complete" else {"title": "Žebra"}
            living[own] = (await client.patch(f"/v1/tasks/{own}", patch)).json()


@given(
    titles=st.lists(st.text(min_size=1, max_size=200).filter(lambda title: title.strip() and "\0" not in title)),
    limit=st.integers(1, 3),
    order=st.sampled_from(["asc", "desc"]),
)
@settings(max_examples=40)
async def test_a_walk_by_any_titles_is_one_long_page_in_pieces(
    http: httpx.AsyncClient, state: State, titles: list[str], limit: int, order: str
) -> None:
    """Titles unfold to many times their length or to nothing at all, and the cursor carries what they unfold to."""
    client = await fresh_account(http, state, f"user{next(numbers)}")
    if titles:
        await client.add_many([{"title": title} for title in titles])

    page = await client.page(sort="title", order=order, limit=200)

    assert page["total"] == len(titles)
    assert await client.walk(sort="title", order=order, limit=limit) == page["items"]
