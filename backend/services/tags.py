"""Verbs on tags. A tag is there when a living task has it, or when it has a colour. Nothing here commits.

The writes are transactions: what is there decides, and how many numbers are needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement

from backend import door
from backend.errors import Conflict, Fault, NotFound
from backend.schemas.filters import TagFilter
from backend.schemas.tags import TagMerge, TagPatch
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.services import tag_query
from backend.services.changes import change_all
from backend.services.tag_query import TAGS
from backend.services.walking import walked
from backend.sql import Row

GIVEN: Final = ("id", "name", "color")
SIZES: Final = (1, 5, 20)  # of statements, by how many tags they take the place of


@dataclass(frozen=True, slots=True)
class Changed:
    tag: str
    color: str | None
    updated: int  # tasks


async def listed(mine: Scope, asked: TagFilter) -> tuple[list[str], str | None]:
    """JSON, one a tag, and a cursor to those after them. One statement. Raises Invalid for the cursor."""
    return await mine.nearby(lambda mine: walked(mine, tag_query.listed, asked, "tags", {}))


async def edit(mine: Scope, tag: str, patch: TagPatch, merging: bool) -> Changed:
    """Raises NotFound, and Conflict when the new name is another tag's and nobody said that they are to be one."""
    sent = patch.sent()
    into = sent.pop("name", tag)
    names = list(dict.fromkeys([tag, into]))
    if names == [tag] and not sent:
        [found] = await mine.read(tag_query.known(), {"names": names})
        if not _is_there(found):
            raise _missing()
        return Changed(tag, found.color, 0)

    async def work(changing: Changing) -> Changed:
        found = await changing.run(tag_query.known(), {"names": names})
        if not _is_there(found[0]):
            raise _missing()
        if len(found) > 1 and _is_there(found[1]) and not merging:
            raise Conflict("There is a tag of this name already. With ?merge=true, the two become one.")
        return await _become(changing, found, into, sent)

    return await mine.change(work, at_most=len(names))


async def merge(mine: Scope, wanted: TagMerge) -> Changed:
    """Raises NotFound, and changes nothing, when one of them is not there."""
    names = list(dict.fromkeys([*wanted.tags, wanted.into]))

    async def work(changing: Changing) -> Changed:
        found = await changing.run(tag_query.known(), {"names": names})
        if not all(map(_is_there, found[: len(wanted.tags)])):
            raise _missing_among(found[: len(wanted.tags)])
        return await _become(changing, found, wanted.into, {})

    return await mine.change(work, at_most=len(names))


async def remove(mine: Scope, tag: str) -> int:
    """From how many tasks. Raises NotFound."""

    async def work(changing: Changing) -> int:
        found = await changing.run(tag_query.known(), {"names": [tag]})
        if not _is_there(found[0]):
            raise _missing()
        await _forget(changing, found, changing.first)
        return await _retag(changing, found, None)

    return await mine.change(work, at_most=1)


async def _become(changing: Changing, found: Sequence[Row], into: str, sent: Mapping[str, str | None]) -> Changed:
    """All one. The colour that is sent, or its own, or that of the first that has one, is the one's."""
    updated = await _retag(changing, [row for row in found if row.name != into], into)
    # The row that stays first, the one's own if it has one: its id stays the same.
    rows = sorted((row for row in found if row.id), key=lambda row: row.name != into)
    color = sent["color"] if "color" in sent else next((row.color for row in rows), None)
    if color is None:
        await _forget(changing, rows, changing.first)
    else:
        await _color(changing, rows[0] if rows else None, into, color)
        await _forget(changing, rows[1:], changing.first + 1)
    return Changed(into, color, updated)


async def _retag(changing: Changing, found: Sequence[Row], into: str | None) -> int:
    """Those in the trash too: what comes back from there has the tags that there are."""
    most = sum(row.tasks for row in found)
    if not most:
        return 0
    names = [row.name for row in found]
    size = next(size for size in SIZES if size >= len(names))
    values = {f"in_{n}": [name] for n, name in enumerate(names + names[-1:] * (size - len(names)))}
    before = await changing.reserve(most) - 1
    [row] = await changing.run(tag_query.retag(size), {**values, "names": names, "into": into, "before": before})
    return int(row.updated)


async def _color(changing: Changing, row: Row | None, name: str, color: str) -> None:
    if row is None:
        values = {"new_id": new_id(), "new_name": name, "new_color": color}
        await changing.run(door.create(TAGS, GIVEN, _shown), values)
    elif (row.name, row.color) != (name, color):
        await change_all(changing, TAGS, [row.id], {"name": name, "color": color}, first=changing.first)


async def _forget(changing: Changing, rows: Sequence[Row], first: int) -> None:
    """Colours, numbered from `first`."""
    await change_all(changing, TAGS, [row.id for row in rows if row.id], {}, turn="deleted", first=first)


def _shown(row: Any) -> list[ColumnElement[Any]]:
    return [row.id]


def _is_there(row: Any) -> bool:
    return bool(row.living or row.id)


def _missing() -> NotFound:
    return NotFound("There is no such tag.")


def _missing_among(found: Sequence[Row]) -> NotFound:
    faults = [
        Fault(loc=["body", "tags", n], msg="There is no such tag.", type="not_found")
        for n, row in enumerate(found)
        if not _is_there(row)
    ]
    return NotFound("Some of the tags are not there; nothing was changed.", faults)
