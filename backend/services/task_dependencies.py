"""Which tasks depend on which, as conditions: parts of statements."""

from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, not_, select

from backend.models import Dependency, Task, table
from backend.wall import OWNER

DEPENDENCIES, TASKS = table(Dependency), table(Task)
OTHER: Final = TASKS.alias("other")


class Way(NamedTuple):
    """From one end of a dependency to the other, by their columns."""

    near: str
    far: str


ONWARD: Final = Way("task_id", "depends_on_id")
BACK: Final = Way("depends_on_id", "task_id")


def leads(way: Way, task_id: Any, other: Any = OTHER) -> list[ColumnElement[bool]]:
    """From `task_id` by a dependency that is there to an `other` task that is not in the trash."""
    return [
        DEPENDENCIES.c.user_id == OWNER,
        DEPENDENCIES.c[way.near] == task_id,
        DEPENDENCIES.c.deleted_at.is_(None),
        other.c.user_id == DEPENDENCIES.c.user_id,
        other.c.id == DEPENDENCIES.c[way.far],
        other.c.deleted_at.is_(None),
    ]


def blocked() -> ColumnElement[bool]:
    """Open, and depends on an open one."""
    return _open_beside(ONWARD)


def blocking() -> ColumnElement[bool]:
    """Open, and an open one depends on it."""
    return _open_beside(BACK)


def _open_beside(way: Way) -> ColumnElement[bool]:
    one = select(DEPENDENCIES.c.id).where(
        *leads(way, TASKS.c.id), DEPENDENCIES.c.user_id == TASKS.c.user_id, not_(OTHER.c.completed)
    )
    return and_(not_(TASKS.c.completed), one.correlate(TASKS).exists())
