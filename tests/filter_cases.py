"""Tasks and the terms of the filter language, each with what it means in plain Python.

The rows are written straight into the database, so that every time in them can be chosen.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from sqlalchemy import text

from backend.state import State
from tests.client import Json
from tests.written import Written

ids = count(1)
MOMENT = timedelta(microseconds=1)


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)


# A Thursday noon in Berlin; on Kiritimati, 14 hours ahead of UTC, the first instant of the Friday.
NOW = at("2031-05-08T10:00:00+00:00")
# The day of 23 hours in Berlin, and the days around now, written out: what is tested is not to test itself.
DAYS: dict[str, dict[str, tuple[datetime, datetime]]] = {
    "Europe/Berlin": {
        "today": (at("2031-05-07T22:00:00Z"), at("2031-05-08T22:00:00Z")),
        "Tomorrow": (at("2031-05-08T22:00:00Z"), at("2031-05-09T22:00:00Z")),
        "yesterday": (at("2031-05-06T22:00:00Z"), at("2031-05-07T22:00:00Z")),
        "fri": (at("2031-05-08T22:00:00Z"), at("2031-05-09T22:00:00Z")),
        "thursday": (at("2031-05-14T22:00:00Z"), at("2031-05-15T22:00:00Z")),
        "+1d": (at("2031-05-08T22:00:00Z"), at("2031-05-09T22:00:00Z")),
        "-39d": (at("2031-03-29T23:00:00Z"), at("2031-03-30T22:00:00Z")),
        "2031-03-30": (at("2031-03-29T23:00:00Z"), at("2031-03-30T22:00:00Z")),
        "-1m": (at("2031-04-07T22:00:00Z"), at("2031-04-08T22:00:00Z")),
    },
    "Pacific/Kiritimati": {
        "today": (at("2031-05-08T10:00:00Z"), at("2031-05-09T10:00:00Z")),
        "tomorrow": (at("2031-05-09T10:00:00Z"), at("2031-05-10T10:00:00Z")),
        "Yesterday": (at("2031-05-07T10:00:00Z"), at("2031-05-08T10:00:00Z")),
        "FRI": (at("2031-05-15T10:00:00Z"), at("2031-05-16T10:00:00Z")),
        "sat": (at("2031-05-09T10:00:00Z"), at("2031-05-10T10:00:00Z")),
        "0d": (at("2031-05-08T10:00:00Z"), at("2031-05-09T10:00:00Z")),
        "2031-05-08": (at("2031-05-07T10:00:00Z"), at("2031-05-08T10:00:00Z")),
        "-1w": (at("2031-05-01T10:00:00Z"), at("2031-05-02T10:00:00Z")),
    },
}
INSTANTS = {
    "2031-05-08T10:00:00Z": (NOW, NOW + MOMENT),
    "2031-05-08T12:00:00+02:00": (NOW, NOW + MOMENT),
    "2031-03-29T23:00:00.000001Z": (at("2031-03-29T23:00:00.000001Z"), at("2031-03-29T23:00:00.000002Z")),
}
TIMES = sorted(
    {moment for days in DAYS.values() for span in days.values() for end in span for moment in (end, end - MOMENT)}
)
RANK = {"low": 0, "medium": 1, "high": 2}
PROJECTS = {"Höme": False, "Deep work": True}  # archived
TAGS = ["home", "Home", "deep work", "a,b"]
# Each word as it is typed and as it is kept; a phrase steps over "the", whatever stands there.
STEMS = {"figs": "fig", "FÍG": "fig", "watering": "water", "water": "water", "quarterly": "quarter", "the": None}
STEMS |= {"home": "home", "deep": "deep", "work": "work", "a": None, "b": "b"}

words = st.lists(st.sampled_from(["figs", "FÍG", "watering", "quarterly", "the"]), min_size=1, max_size=4).map(" ".join)
rows = st.fixed_dictionaries(
    {
        "title": words,
        "description": st.none() | st.just("") | words,
        "priority": st.sampled_from(list(RANK)),
        "due_date": st.none() | st.sampled_from(TIMES),
        "tags": st.lists(st.sampled_from(TAGS), unique=True, max_size=2),
        "completed_at": st.none() | st.sampled_from(TIMES),
        "created_at": st.sampled_from(TIMES),
        "updated_at": st.sampled_from(TIMES),
        "deleted": st.sampled_from([False, False, False, True]),
        # On the task so many places before it; below zero, a dependency that was removed.
        "project": st.none() | st.sampled_from(list(PROJECTS)),
        "part_of": st.sampled_from([None, None, 1, 3]),  # so many places before it
        "depends_on": st.lists(st.sampled_from([1, 2, 5, -1]), unique=True, max_size=2),
    }
)


def stems(task: Json) -> list[list[str | None]]:
    """Part by part; a phrase does not reach from one into the next."""
    parts = [task["title"], task["description"] or "", *task["tags"]]
    return [[STEMS.get(word, STEMS.get(word.lower())) for word in part.replace(",", " ").split()] for part in parts]


def says(*wanted: str | None) -> Callable[[Json], bool]:
    """These side by side."""

    def fits(task: Json) -> bool:
        for part in stems(task):
            for start in range(len(part) - len(wanted) + 1):
                if all(word in (None, there) for word, there in zip(wanted, part[start:], strict=False)):
                    return True
        return False

    return fits


def overdue(task: Json) -> bool:
    return bool(task["due_date"] and task["due_date"] < NOW and not task["completed_at"])


TERMS: dict[str, Callable[[Json], Any]] = {
    "priority:high": lambda task: task["priority"] == "high",
    "priority:low,HIGH": lambda task: task["priority"] != "medium",
    "Priority >= medium": lambda task: task["priority"] != "low",
    "priority<medium": lambda task: task["priority"] == "low",
    "priority>low": lambda task: task["priority"] != "low",
    "tag:home": lambda task: "home" in task["tags"],
    'tag:"deep work"': lambda task: "deep work" in task["tags"],
    "tag:a,b": lambda task: "a,b" in task["tags"],
    "has:due": lambda task: task["due_date"],
    "has:tag": lambda task: task["tags"],
    "HAS:description": lambda task: task["description"],
    "is:pending": lambda task: not task["completed_at"],
    "is:Done": lambda task: task["completed_at"],
    "is:overdue": overdue,
    "is:blocked": lambda task: task["blocked"],
    "is:Blocking": lambda task: task["blocking"],
    "due:none": lambda task: not task["due_date"],
    "due:any": lambda task: task["due_date"],
    "completed:none": lambda task: not task["completed_at"],
    "completed:any": lambda task: task["completed_at"],
    "project:home": lambda task: task["project"] == "Höme",
    'Project:"DEEP work"': lambda task: task["project"] == "Deep work",
    "project:nowhere": lambda task: False,
    "project:any": lambda task: task["project"],
    "project:none": lambda task: not task["project"],
    "has:project": lambda task: task["project"],
    "is:archived": lambda task: task["project"] == "Deep work",
    "is:subtask": lambda task: task["is_part"],
    "has:subtasks": lambda task: task["has_parts"],
    "figs": says("fig"),
    "fíg": says("fig"),
    "quart*": says("quarter"),
    "quarterl*": lambda task: False,
    "watered": says("water"),
    '"watering figs"': says("water", "fig"),
    '"water the figs"': says("water", None, "fig"),
    "palms": lambda task: False,
}


FIELDS = {"due": "due_date", "created": "created_at", "updated": "updated_at", "completed": "completed_at"}
COMPARED = ("<", "<=", ">", ">=", ":", " <= ")


def compared(zone: str, field: str, sign: str, said: str) -> Written[Json]:
    first, after = {**DAYS[zone], **INSTANTS}[said]
    checks: dict[str, Callable[[datetime], bool]] = {
        "<": lambda when: when < first,
        "<=": lambda when: when < after,
        ">": lambda when: when >= after,
        ">=": lambda when: when >= first,
        ":": lambda when: first <= when < after,
    }
    check = checks[sign.strip()]
    return Written(f"{field}{sign}{said}", lambda task: task[FIELDS[field]] and check(task[FIELDS[field]]))


def ranged(zone: str, field: str, low: str, high: str) -> Written[Json]:
    spans = {**DAYS[zone], **INSTANTS}
    one, other = spans.get(low), spans.get(high)
    if not one and not other:
        high, other = next(iter(spans.items()))
    elif one and other and one[0] >= other[1]:
        low, high, one, other = high, low, other, one

    def fits(task: Json) -> bool:
        when = task[FIELDS[field]]
        return bool(when and (not one or when >= one[0]) and (not other or when < other[1]))

    return Written(f"{field}:{low}..{high}", fits)


def timed(zone: str) -> st.SearchStrategy[Written[Json]]:
    there, field = st.just(zone), st.sampled_from(list(FIELDS))
    said = st.sampled_from([*DAYS[zone], *INSTANTS])
    ends = said | st.just("")
    return st.builds(compared, there, field, st.sampled_from(COMPARED), said) | st.builds(
        ranged, there, field, ends, ends
    )


PLAIN: list[tuple[Json, Callable[[Json], Any]]] = [
    ({"status": "pending"}, lambda task: not task["completed_at"]),
    ({"status": "completed"}, lambda task: task["completed_at"]),
    ({"priority": ["high", "low"]}, lambda task: task["priority"] != "medium"),
    ({"tags": ["home", "deep work"]}, lambda task: {"home", "deep work"} <= set(task["tags"])),
    ({"any_tags": ["home", "a,b"]}, lambda task: {"home", "a,b"} & set(task["tags"])),
    ({"not_tags": ["home", "a,b"]}, lambda task: not {"home", "a,b"} & set(task["tags"])),
    ({"overdue": "true"}, overdue),
    ({"overdue": "false"}, lambda task: not overdue(task)),
    ({"has_due_date": "false"}, lambda task: not task["due_date"]),
    ({"search": "figs"}, says("fig")),
    ({"search": "watering -figs"}, lambda task: says("water")(task) and not says("fig")(task)),
    ({"search": 'quart* or "water the figs"'}, lambda task: TERMS["quart*"](task) or TERMS['"water the figs"'](task)),
]


async def stored(state: State, owner: UUID, made: list[Json]) -> list[tuple[Json, Json]]:
    """Those that are not in the trash: each row, and what the API shows of it."""
    given: list[Json] = []
    living: list[tuple[Json, Json]] = []
    known = {name: str(UUID(int=next(ids))) for name in PROJECTS}
    for n, row in enumerate(made, start=1):
        shown = {
            "id": str(UUID(int=(n * 7919) % 64 << 64 | next(ids))),
            "title": row["title"],
            "description": row["description"],
            "priority": row["priority"],
            "due_date": row["due_date"],
            "tags": row["tags"],
            "completed": bool(row["completed_at"]),
            "completed_at": row["completed_at"],
            "project_id": known.get(row["project"]),
            "parent_id": given[n - 1 - row["part_of"]]["id"] if row["part_of"] and row["part_of"] < n else None,
            "position": f"n{n:014}",
            "version": n,
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
        }
        shown = {name: iso(value) if isinstance(value, datetime) else value for name, value in shown.items()}
        given.append({**shown, "deleted_at": iso(NOW) if row["deleted"] else None, "user_id": str(owner)})
        given[-1]["title_key"] = row["title"].lower().replace("í", "i")
        if not row["deleted"]:
            living.append(({**row, **waiting(made, n - 1), **family(made, n - 1)}, shown))
    projects = [
        {"user_id": str(owner), "id": known[name], "version": n, "name": name, "archived": archived}
        | {"name_key": name.lower().replace("ö", "o"), "position": f"a{n}", "favorite": False, "depth": 0}
        | {"created_at": iso(NOW), "updated_at": iso(NOW)}
        for n, (name, archived) in enumerate(PROJECTS.items(), start=1)
    ]
    async with state.database.engine.connect() as connection:
        for name, several in (
            ("projects", projects),
            ("tasks", given),
            ("dependencies", list(dependencies(made, given))),
        ):
            if several:
                columns = ", ".join(several[0])
                source = f"jsonb_populate_recordset(NULL\\:\\:{name}, :rows)"
                insert = text(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {source}")
                chosen = insert.execution_options(crosses_users="rows with chosen times")
                await connection.execute(chosen, {"rows": json.dumps(several)})
    return living


def dependencies(made: list[Json], given: list[Json]) -> Iterator[Json]:
    for n, row in enumerate(made):
        for back in row["depends_on"]:
            if abs(back) <= n:
                number = next(ids)
                yield {
                    "user_id": given[n]["user_id"],
                    "id": str(UUID(int=number)),
                    "version": number,
                    "task_id": given[n]["id"],
                    "depends_on_id": given[n - abs(back)]["id"],
                    "deleted_at": None if back > 0 else iso(NOW),
                }


def waiting(made: list[Json], place: int) -> Json:
    """Whether the task at this place waits for an open one, and whether an open one waits for it."""
    opened = [not row["completed_at"] and not row["deleted"] for row in made]
    before = {place - back for back in made[place]["depends_on"] if back > 0}
    after = {n for n, row in enumerate(made) if n > place and n - place in row["depends_on"]}
    return {
        "blocked": opened[place] and any(opened[n] for n in before if n >= 0),
        "blocking": opened[place] and any(opened[n] for n in after),
    }


def family(made: list[Json], place: int) -> Json:
    parts = [n for n, row in enumerate(made) if row["part_of"] and n - row["part_of"] == place and not row["deleted"]]
    back = made[place]["part_of"]
    return {"is_part": back is not None and back <= place, "has_parts": bool(parts)}


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def one_of_each() -> list[Json]:
    """Every time in every field, none of them, and all that a term can tell apart."""
    return [
        {
            "title": ("figs", "watering the FÍG", "quarterly")[n % 3],
            "description": (None, "", "water figs", "watering")[n % 4],
            "priority": list(RANK)[n % 3],
            "due_date": TIMES[n] if n < len(TIMES) else None,
            "tags": TAGS[n % 5 : n % 5 + 2],
            "completed_at": TIMES[n * 7 % len(TIMES)] if n % 3 else None,
            "created_at": TIMES[n * 3 % len(TIMES)],
            "updated_at": TIMES[n * 5 % len(TIMES)],
            "deleted": False,
            "project": [None, *PROJECTS][n % 3],
            "part_of": [None, 1, 3, None][n % 4],
            "depends_on": [[], [1], [2, 5], [-1]][n % 4],
        }
        for n in range(len(TIMES) + 4)
    ]
