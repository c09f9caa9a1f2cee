"""What falls with what, as SQL: the rows that go into the trash with a task or project, come back, and are scrubbed.

Each relation between users' rows is decided here: what belongs to a task or project is trashed with it. A row in
the trash names in `deleted_with` what took it along; one without a name was deleted by itself. So no living row ever
refers to one in the trash.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from sqlalchemy import (
    CTE,
    FromClause,
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
from sqlalchemy.sql.selectable import LateralFromClause

from backend.services.comment_search import COMMENTS
from backend.services.task_criteria import PROJECTS, TASKS, by_id, by_key
from backend.services.task_dependencies import BACK, DEPENDENCIES, ONWARD
from backend.services.trash_query import in_trash, lives
from backend.statements import Query, one_by_one, statement
from backend.wall import OWNER

What = Literal["tasks", "projects"]
OF_TASKS: Final[Mapping[str, Table]] = {"comments": COMMENTS}
"""What a task takes along by the `task_id` of its rows."""
ONE: Final[Any] = literal_column("1", Integer())
NONE: Final[Any] = literal_column("0", Integer())
NO_ID: Final[Any] = cast(null(), Uuid())
GIVEN: Final = select(bindparam("row_id", type_=Uuid()).label("id")).subquery("given")
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
    below = one_by_one(select(part.c.id).where(*by_key(*lives(part.c)), part.c.parent_id == found.c.id), found)
    parts = select(below.c.id, found.c.root, found.c.level + ONE).select_from(found.join(below, true()))
    found = found.union_all(parts)
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
    within = one_by_one(select(inner.c.id).where(*by_key(*lives(inner.c)), inner.c.parent_id == found.c.id), found)
    found = found.union_all(select(within.c.id, found.c.root).select_from(found.join(within, true())))
    theirs = one_by_one(select(TASKS.c.id).where(*by_id(), TASKS.c.project_id == found.c.id), found)
    inside = select(theirs.c.id, found.c.root).select_from(found.join(theirs, true())).cte("fallen")
    projects, tasks = (_rows(of, these.c.id, these.c.root) for of, these in (("projects", found), ("tasks", inside)))
    return union_all(projects, tasks, *_beside(inside))  # type: ignore[return-value]


def _beside(fallen: CTE) -> list[Any]:
    """What is of the tasks that fall. A dependency between two of them comes once for each."""
    belonging = [(of, each, each.c.task_id) for of, each in OF_TASKS.items()]
    belonging += [("dependencies", DEPENDENCIES, DEPENDENCIES.c[way.near]) for way in (ONWARD, BACK)]
    found = []
    for of, each, task_id in belonging:
        theirs = one_by_one(select(each.c.id).where(*by_key(*lives(each.c)), task_id == fallen.c.id), fallen)
        found.append(_rows(of, theirs.c.id, fallen.c.root).select_from(fallen.join(theirs, true())))
    return found


def back(target: Any, given: FromClause, name: str = "tree", *carried: str) -> CTE:
    """(id, parent_id, root, taken_by, level, …): rows of the trash by their ids (`given.c.id`), and what is below each
    that was taken along by the same, with that row as `root`. Recursive. `carried` are columns to have besides.
    """
    group = func.coalesce(target.c.deleted_with, target.c.id).label("taken_by")
    root = target.c.id, target.c.parent_id, target.c.id.label("root"), group, NONE.label("level")
    roots = select(*root, *(target.c[each] for each in carried)).where(*by_key(*in_trash(target)))
    found = one_by_one(roots.where(target.c.id == given.c.id), given)
    tree = select(*found.c).select_from(given.join(found, true())).cte(name, recursive=True)
    part = target.alias("part")
    taken = part.c.parent_id == tree.c.id, part.c.deleted_with == tree.c.taken_by
    columns = ("id", "parent_id", *carried)
    below = one_by_one(select(*(part.c[each] for each in columns)).where(*by_key(*in_trash(part)), *taken), tree)
    about = below.c.id, below.c.parent_id, tree.c.root, tree.c.taken_by, tree.c.level + ONE
    parts = select(*about, *(below.c[each] for each in carried))
    return tree.union_all(parts.select_from(tree.join(below, true())))


def taken_inside(projects: CTE, *columns: str) -> LateralFromClause:
    """For each of the projects, the tasks in it that were taken along by the same."""
    these = TASKS.c.project_id == projects.c.id, TASKS.c.deleted_with == projects.c.taken_by
    return one_by_one(select(*(TASKS.c[each] for each in columns)).where(*by_key(*in_trash(TASKS)), *these), projects)


@statement
def back_with_task() -> Query:
    """What comes back with the task `row_id`: (of, id, parent_id, project_id, level), tasks last, itself before others.

    Dependencies are looked at when the tasks are back (`severed`).
    """
    tree = back(TASKS, GIVEN, "tree", "project_id")
    tasks = select(_word("tasks"), tree.c.id, tree.c.parent_id, tree.c.project_id, tree.c.level)
    return _in_order(tasks, *_with_them(tree))


@statement
def back_with_project() -> Query:
    """What comes back with the project `row_id`, as `back_with_task` has it: projects, and the tasks of all."""
    tree = back(PROJECTS, GIVEN)
    projects = select(_word("projects"), tree.c.id, tree.c.parent_id, NO_ID.label("project_id"), tree.c.level)
    tasks = taken_inside(tree, "id", "parent_id", "project_id")
    inside = select(*tasks.c, tree.c.taken_by).select_from(tree.join(tasks, true())).cte("inside")
    found = select(_word("tasks"), inside.c.id, inside.c.parent_id, inside.c.project_id, NONE)
    return _in_order(projects, found, *_with_them(inside))


def _with_them(tasks: CTE) -> list[Any]:
    """What is of the tasks that come back."""
    found = []
    for of, each in OF_TASKS.items():
        taken = each.c.task_id == tasks.c.id, each.c.deleted_with == tasks.c.taken_by
        theirs = one_by_one(select(each.c.id).where(*by_key(*in_trash(each)), *taken), tasks)
        rows = select(_word(of), theirs.c.id, NO_ID, NO_ID, NONE)
        found.append(rows.select_from(tasks.join(theirs, true())))
    return found


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
