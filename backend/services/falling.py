"""What falls with what, as SQL: the rows that go into the trash with a task or project, come back, and are scrubbed.

Each relation between users' rows is decided here: what belongs to a task or project is trashed with it. A row in
the trash names in `deleted_with` what took it along; one without a name was deleted by itself. So no living row ever
refers to one in the trash.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.services.comment_search import COMMENTS
from backend.services.task_criteria import PROJECTS, TASKS, by_id
from backend.services.task_dependencies import BACK, DEPENDENCIES, ONWARD
from backend.services.trash_query import in_trash, lives
from backend.statements import Query, statement
from backend.wall import OWNER

What = Literal["tasks", "projects"]
OF_TASKS: Final[Mapping[str, Table]] = {"comments": COMMENTS}
"""What a task takes along by the `task_id` of its rows."""
ONE: Final[Any] = literal_column("1", Integer())
NONE: Final[Any] = literal_column("0", Integer())
NO_ID: Final[Any] = cast(null(), Uuid())
ROW_ID: Final = bindparam("row_id", type_=Uuid())
IDS: Final = func.any(bindparam("ids", type_=ARRAY(Uuid())))


def _word(of: str) -> Any:
    return literal_column(f"'{of}'", Text()).label("of")


def _rows(of: str, ids: Any, root: Any) -> Any:
    return select(_word(of), ids.label("id"), root.label("root"))


@statement
def with_tasks() -> Query:
    """What falls with the tasks `ids`: (of, id, root), where `root` is the highest of them that it is below."""
    tree = select(TASKS.c.id, TASKS.c.id.label("root"), NONE.label("level")).where(*by_id(), TASKS.c.id == IDS)
    found = tree.cte("tree", recursive=True)
    part = TASKS.alias("part")
    below = select(part.c.id, found.c.root, found.c.level + ONE)
    found = found.union_all(below.where(*lives(part.c), part.c.parent_id == found.c.id))
    height = func.row_number().over(partition_by=found.c.id, order_by=found.c.level.desc()).label("height")
    come_upon = select(found.c.id, found.c.root, height).subquery("come_upon")
    fallen = select(come_upon.c.id, come_upon.c.root).where(come_upon.c.height == ONE).cte("fallen")
    return union_all(_rows("tasks", fallen.c.id, fallen.c.root), *_beside(fallen))  # type: ignore[return-value]


@statement
def with_projects() -> Query:
    """What falls with the projects `ids`, as `with_tasks` has it: the projects in them, and the tasks of all."""
    tree = select(PROJECTS.c.id, PROJECTS.c.id.label("root")).where(*lives(PROJECTS.c), PROJECTS.c.id == IDS)
    found = tree.cte("tree", recursive=True)
    inner = PROJECTS.alias("inner_project")
    found = found.union_all(select(inner.c.id, found.c.root).where(*lives(inner.c), inner.c.parent_id == found.c.id))
    inside = select(TASKS.c.id, found.c.root).where(*lives(TASKS.c), TASKS.c.project_id == found.c.id).cte("fallen")
    projects, tasks = (_rows(of, these.c.id, these.c.root) for of, these in (("projects", found), ("tasks", inside)))
    return union_all(projects, tasks, *_beside(inside))  # type: ignore[return-value]


def _beside(fallen: CTE) -> list[Any]:
    """What is of the tasks that fall. A dependency between two of them comes once for each."""
    things = [
        _rows(of, each.c.id, fallen.c.root).where(*lives(each.c), each.c.task_id == fallen.c.id)
        for of, each in OF_TASKS.items()
    ]
    dependencies = _rows("dependencies", DEPENDENCIES.c.id, fallen.c.root)
    return [
        *things,
        *(
            dependencies.where(*lives(DEPENDENCIES.c), DEPENDENCIES.c[way.near] == fallen.c.id)
            for way in (ONWARD, BACK)
        ),
    ]


def back(target: Any, these: ColumnElement[bool], name: str = "tree") -> CTE:
    """Rows of the trash, and what is below each that was taken along by the same: recursive. `root` is the former."""
    group = func.coalesce(target.c.deleted_with, target.c.id).label("taken_by")
    about = target.c.id, target.c.parent_id, target.c.id.label("root"), group, NONE.label("level")
    tree = select(*about).where(*in_trash(target), these).cte(name, recursive=True)
    part = target.alias("part")
    below = select(part.c.id, part.c.parent_id, tree.c.root, tree.c.taken_by, tree.c.level + ONE)
    return tree.union_all(
        below.where(*in_trash(part), part.c.parent_id == tree.c.id, part.c.deleted_with == tree.c.taken_by)
    )


def taken_inside(projects: CTE) -> tuple[Any, ...]:
    """The tasks that were taken along by the same as the projects that they are in."""
    these = TASKS.c.project_id == projects.c.id, TASKS.c.deleted_with == projects.c.taken_by
    return *in_trash(TASKS), *these


@statement
def back_with_task() -> Query:
    """What comes back with the task `row_id`: (of, id, parent_id, project_id, level), tasks last, itself before others.

    Dependencies are looked at when the tasks are back (`severed`).
    """
    tree = back(TASKS, TASKS.c.id == ROW_ID)
    task = TASKS.alias("task")
    of_task = task.c.user_id == OWNER, task.c.id == tree.c.id
    tasks = select(_word("tasks"), tree.c.id, tree.c.parent_id, task.c.project_id, tree.c.level).where(*of_task)
    return _in_order(tasks, *_with_them(tree))


@statement
def back_with_project() -> Query:
    """What comes back with the project `row_id`, as `back_with_task` has it: projects, and the tasks of all."""
    tree = back(PROJECTS, PROJECTS.c.id == ROW_ID)
    projects = select(_word("projects"), tree.c.id, tree.c.parent_id, NO_ID.label("project_id"), tree.c.level)
    columns = TASKS.c.id, TASKS.c.parent_id, TASKS.c.project_id, tree.c.taken_by
    inside = select(*columns).where(*taken_inside(tree)).cte("inside")
    tasks = select(_word("tasks"), inside.c.id, inside.c.parent_id, inside.c.project_id, NONE)
    return _in_order(projects, tasks, *_with_them(inside))


def _with_them(tasks: CTE) -> list[Any]:
    """What is of the tasks that come back."""
    return [
        select(_word(of), each.c.id, NO_ID, NO_ID, NONE).where(
            *in_trash(each), each.c.task_id == tasks.c.id, each.c.deleted_with == tasks.c.taken_by
        )
        for of, each in OF_TASKS.items()
    ]


def _in_order(*parts: Any) -> Query:
    found = union_all(*parts).subquery("found")
    return select(*found.c).order_by(found.c.of, found.c.level, found.c.id)


@statement
def beside_tasks() -> Query:
    """What is of the tasks `ids` and was not scrubbed: (of, id, living), dependencies only while they live."""
    things = [
        select(_word(of), each.c.id, each.c.deleted_at.is_(None).label("living")).where(
            each.c.user_id == OWNER, each.c.task_id == IDS, each.c.scrubbed_at.is_(None)
        )
        for of, each in OF_TASKS.items()
    ]
    dependencies = [
        select(_word("dependencies"), DEPENDENCIES.c.id, true()).where(
            *lives(DEPENDENCIES.c), DEPENDENCIES.c[way.near] == IDS
        )
        for way in (ONWARD, BACK)
    ]
    return union_all(*things, *dependencies)  # type: ignore[return-value]


@statement
def severed() -> Query:
    """The dependencies of the tasks `ids` that were taken along by a deletion, where both ends are there again."""
    ends = [TASKS.alias(name) for name in ("one", "other")]
    taken = (
        DEPENDENCIES.c.user_id == OWNER,
        DEPENDENCIES.c.deleted_at.is_not(None),
        DEPENDENCIES.c.deleted_with.is_not(None),
    )
    joined = [
        condition
        for end, column in zip(ends, (DEPENDENCIES.c.task_id, DEPENDENCIES.c.depends_on_id), strict=True)
        for condition in (*lives(end.c), end.c.id == column)
    ]
    theirs = or_(DEPENDENCIES.c.task_id == IDS, DEPENDENCIES.c.depends_on_id == IDS)
    columns = DEPENDENCIES.c.id, DEPENDENCIES.c.task_id, DEPENDENCIES.c.depends_on_id
    return select(*columns).where(*taken, *joined, theirs).order_by(DEPENDENCIES.c.version, DEPENDENCIES.c.id)
