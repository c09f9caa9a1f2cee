"""Changes of tags against an oracle in plain Python, over random tasks and changes."""

from collections import Counter
from itertools import count
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from backend.scope import Scope
from backend.services.task_criteria import TASKS
from backend.state import State
from backend.wall import OWNER
from tests.client import Json, fresh_account
from tests.test_tags import url

numbers = count()
NAMES = ["home", "Home", "a b", "a/b", "naïve", "merge"]
COLORS = ["#3a7d44", "#000000"]

names = st.sampled_from(NAMES)
some = st.lists(names, unique=True, min_size=1, max_size=4)
tasks = st.fixed_dictionaries({"tags": st.lists(names, unique=True, max_size=6), "trash": st.booleans()})
changes = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), names, names, st.booleans()),
        st.tuples(st.just("merge"), some, names),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("color"), names, st.sampled_from([None, *COLORS])),
    ),
    min_size=1,
    max_size=6,
)


class Oracle:
    """What the tags are, and what each change is answered with: a status and, if it was made, a body."""

    def __init__(self, tasks: list[Json]) -> None:
        self.tasks = [list(task["tags"]) for task in tasks]
        self.living = [not task["trash"] for task in tasks]
        self.colors: dict[str, str] = {}

    def counts(self) -> Counter[str]:
        return Counter(tag for tags, alive in zip(self.tasks, self.living, strict=True) if alive for tag in tags)

    def listed(self) -> list[Json]:
        counts = self.counts()
        order = sorted({*counts, *self.colors}, key=lambda tag: (-counts[tag], tag))
        colors = {tag: {"color": color} for tag, color in self.colors.items()}
        return [{"tag": tag, "count": counts[tag], **colors.get(tag, {})} for tag in order]

    def has(self, tag: str) -> bool:
        return tag in self.counts() or tag in self.colors

    def rename(self, tag: str, name: str, merging: bool) -> tuple[int, Any]:
        if not self.has(tag):
            return 404, None
        if tag != name and self.has(name) and not merging:
            return 409, None
        return 200, self._become([tag], name)

    def merge(self, tags: list[str], into: str) -> tuple[int, Any]:
        if not all(map(self.has, tags)):
            return 404, None
        return 200, self._become(tags, into)

    def delete(self, tag: str) -> tuple[int, Any]:
        if not self.has(tag):
            return 404, None
        self.colors.pop(tag, None)
        return 200, {"updated": self._replace({tag}, None)}

    def color(self, tag: str, color: str | None) -> tuple[int, Any]:
        if not self.has(tag):
            return 404, None
        self.colors.pop(tag, None)
        if color:
            self.colors[tag] = color
        return 200, {"tag": tag, "color": color, "updated": 0}

    def _become(self, tags: list[str], into: str) -> Json:
        had = [self.colors.pop(tag) for tag in dict.fromkeys([into, *tags]) if tag in self.colors]
        if had:
            self.colors[into] = had[0]
        updated = self._replace({*tags} - {into}, into)
        return {"tag": into, "color": self.colors.get(into), "updated": updated}

    def _replace(self, gone: set[str], into: str | None) -> int:
        updated = 0
        for tags in self.tasks:
            if gone & {*tags}:
                updated += 1
                new = [into if tag in gone else tag for tag in tags]
                tags[:] = [tag for tag in dict.fromkeys(new) if tag is not None]
        return updated


@given(st.lists(tasks, min_size=1, max_size=6), changes)
@settings(max_examples=40)
async def test_tags_are_changed_as_the_oracle_says(
    http: httpx.AsyncClient, state: State, made: list[Json], changes: list[Any]
) -> None:
    client = await fresh_account(http, state, f"tagger{next(numbers)}")
    stored = await client.add_many([{"title": str(n), "tags": task["tags"]} for n, task in enumerate(made)])
    if trash := [task["id"] for task, given in zip(stored, made, strict=True) if given["trash"]]:
        await client.post("/v1/tasks/batch/delete", {"ids": trash})
    mine, oracle = Scope(client.user_id, state.database), Oracle(made)
    rows = select(TASKS.c.tags, TASKS.c.version).where(TASKS.c.user_id == OWNER).order_by(TASKS.c.title)
    before = await mine.read(rows, {})

    for kind, *values in changes:
        match kind:
            case "rename":
                tag, name, merging = values
                answer = await client.patch(f"{url(tag)}?merge={str(merging).lower()}", {"name": name})
            case "merge":
                answer = await client.post("/v1/tags/merge", dict(zip(("tags", "into"), values, strict=True)))
            case "delete":
                answer = await client.delete(url(*values))
            case _:
                answer = await client.patch(url(values[0]), {"color": values[1]})
        status, body = getattr(oracle, kind)(*values)

        after = await mine.read(rows, {})
        assert (answer.status_code, answer.json() if status == 200 else None) == (status, body)
        assert [row.tags for row in after] == oracle.tasks
        assert (await client.get("/v1/tags")).json()["items"] == oracle.listed()
        newest = max(row.version for row in before)
        for old, new in zip(before, after, strict=True):
            assert new.version > newest if old.tags != new.tags else new.version == old.version
        before = after
