"""What may be asked of a task, as SQL: a tree becomes a condition here and nowhere else.

A statement depends on the tree's *form*, which is the tree without its values; those are bound as
`in_0`, `in_1`, … in the order in which they stand. No condition is ever null, so that NOT is the complement.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REGCONFIG, TSQUERY, array
from sqlalchemy.types import TypeEngine

from backend.models import Project, Task, table
from backend.rules.tree import AllOf, AnyOf, Node, Not, Term
from backend.services.task_dependencies import blocked, blocking
from backend.wall import OWNER

TASKS, PROJECTS = table(Task), table(Project)

WHEN = DateTime(timezone=True)
NEVER: ColumnElement[Any] = literal_column("'infinity'", WHEN)
BEFORE_ALL: ColumnElement[Any] = literal_column("'-infinity'", WHEN)
DUE = func.coalesce(TASKS.c.due_date, NEVER, type_=WHEN)  # as the index tasks_due has it
DUE_FALLING = func.coalesce(TASKS.c.due_date, BEFORE_ALL, type_=WHEN)


def place(row: Any) -> ColumnElement[str]:
    """Where a task is in the order by hand, as the index tasks_position has it."""
    return func.place_of(row.position, row.created_at, type_=TASKS.c.position.type)


MY_TAGS = func.jsonb_set(literal_column("'{}'"), array([cast(TASKS.c.user_id, Text())]), TASKS.c.tags, type_=JSONB())
"""`{user: tags}`, as the index tasks_tags has it."""
CONFIGURATION = bindparam("in_configuration", type_=REGCONFIG())
"""Named, and not by `search_config` from the language, which would be planned anew for each query."""
FILED = TASKS.c.project_id.is_not(None)
PART = TASKS.c.parent_id.is_not(None)

Form = str | tuple[str, tuple["Form", ...]]
"""A tree without values: the name of a criterion, or `and`, `or`, `not` and what they join."""


def tsquery(text: Any) -> ColumnElement[Any]:
    """What separates words in the row's vector separates them here."""
    return func.to_tsquery(CONFIGURATION, func.search_text(text))


def says(query: Any) -> ColumnElement[bool]:
    """Both columns of the index tasks_search."""
    whose = cast(TASKS.c.user_id, Text()) == cast(OWNER, Text())
    return and_(whose, TASKS.c.search.op("@@", is_comparison=True)(query))


def living() -> list[ColumnElement[bool]]:
    """The only way to the table: the owner's tasks that are not in the trash."""
    return [TASKS.c.user_id == OWNER, TASKS.c.deleted_at.is_(None)]


def by_key(whose: ColumnElement[bool], *state: ColumnElement[bool]) -> list[ColumnElement[bool]]:
    """The owner's rows in a state, of those that are named, or come upon one by one by what they belong to.

    IS NOT FALSE keeps Postgres from the partial indexes, all of which are of another order: it would go through one of
    them, past all that the owner has, and would do so for each row.
    """
    return [whose, *(each.is_not(false()) for each in state)]


def by_id() -> list[ColumnElement[bool]]:
    """The owner's tasks that are named and not in the trash."""
    return by_key(*living())


def sought() -> list[ColumnElement[bool]]:
    """The same, for what is found by words or tags, whose indexes have the user in their keys.

    IS TRUE keeps Postgres from any other index, here and around every other condition: in a plan for any
    values it takes a user for one of average size, reads all their tasks and looks at each, which took 76 ms
    instead of 5 for a user with 12,000. IS NOT FALSE keeps it from the partial ones, of which it took one to find
    tasks by their ids.
    """
    return [(TASKS.c.user_id == OWNER).is_(true()), TASKS.c.deleted_at.is_(None).is_not(false())]


def _tagged(all_of: Any) -> ColumnElement[bool]:
    these = func.jsonb_set(literal_column("'{}'"), array([cast(OWNER, Text())]), all_of, type_=JSONB())
    return MY_TAGS.op("@>", is_comparison=True)(these)


def required(query: Any) -> Any:
    """The query, selected so that it is made once, as one that demands a word."""
    return select(demanding(query)).scalar_subquery()


def demanding(query: Any) -> ColumnElement[Any]:
    """The query. Where it demands no word, as `-figs` does, with the one that all have.

    Without a word that must be there, Postgres reads the whole index on words, everybody's: 20 ms instead of 1
    with 100,000 tasks. `.` is what keeps the parts of a task apart (`models.SEARCH_VECTOR`).
    """
    all_have = cast(literal_column("'.'"), TSQUERY)
    return case((func.querytree(query) == literal_column("'T'"), func.tsquery_and(all_have, query)), else_=query)


def _has_parts() -> ColumnElement[bool]:
    parts = TASKS.alias("parts")
    whose = TASKS.c.user_id == OWNER, parts.c.user_id == TASKS.c.user_id
    return exists().where(*whose, parts.c.parent_id == TASKS.c.id, parts.c.deleted_at.is_(None))


def _projects(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(PROJECTS.c.id).where(PROJECTS.c.user_id == OWNER, PROJECTS.c.deleted_at.is_(None), *conditions)


def _projects_named(key: Any) -> Select[Any]:
    """Without regard to case and accents."""
    return _projects(PROJECTS.c.name_key == key)


def _archived_projects() -> Select[Any]:
    return _projects(PROJECTS.c.archived)


class Criterion(NamedTuple):
    type: TypeEngine[Any] | None  # of its value; None where it has none
    line: Callable[[Any], ColumnElement[bool]]


CRITERIA: Mapping[str, Criterion] = {
    "completed": Criterion(Boolean(), lambda value: TASKS.c.completed == value),
    "priority": Criterion(ARRAY(TASKS.c.priority.type), lambda these: TASKS.c.priority == func.any(these)),
    "due_at": Criterion(WHEN, lambda moment: DUE == moment),
    "due_from": Criterion(WHEN, lambda first: and_(DUE >= first, DUE < NEVER)),
    "due_until": Criterion(WHEN, lambda end: DUE < end),
    "created_from": Criterion(WHEN, lambda first: TASKS.c.created_at >= first),
    "created_until": Criterion(WHEN, lambda end: TASKS.c.created_at < end),
    "updated_from": Criterion(WHEN, lambda first: TASKS.c.updated_at >= first),
    "updated_until": Criterion(WHEN, lambda end: TASKS.c.updated_at < end),
    "completed_from": Criterion(WHEN, lambda first: func.coalesce(TASKS.c.completed_at, BEFORE_ALL) >= first),
    "completed_until": Criterion(WHEN, lambda end: func.coalesce(TASKS.c.completed_at, NEVER) < end),
    "overdue": Criterion(WHEN, lambda now: and_(DUE < now, not_(TASKS.c.completed))),
    "dated": Criterion(None, lambda _: DUE < NEVER),
    "tagged": Criterion(None, lambda _: func.jsonb_array_length(TASKS.c.tags) > literal_column("0")),
    "project": Criterion(ARRAY(Uuid()), lambda these: and_(FILED, TASKS.c.project_id == func.any(these))),
    "parent": Criterion(Uuid(), lambda parent: and_(PART, TASKS.c.parent_id == parent)),
    "in_project": Criterion(None, lambda _: FILED),
    "subtask": Criterion(None, lambda _: PART),
    "divided": Criterion(None, lambda _: _has_parts()),
    "project_named": Criterion(Text(), lambda key: and_(FILED, TASKS.c.project_id.in_(_projects_named(key)))),
    "archived": Criterion(None, lambda _: and_(FILED, TASKS.c.project_id.in_(_archived_projects()))),
    "described": Criterion(
        None, lambda _: func.coalesce(TASKS.c.description, literal_column("''")) != literal_column("''")
    ),
    "blocked": Criterion(None, lambda _: blocked()),
    "blocking": Criterion(None, lambda _: blocking()),
    "tags": Criterion(JSONB(), _tagged),
    "any_tag": Criterion(ARRAY(Text()), lambda any_of: TASKS.c.tags.has_any(any_of)),
    "text": Criterion(Text(), lambda text: says(required(tsquery(text)))),
}
"""A line a criterion. `overdue` is asked with the time, which the tree does not know."""


SOUGHT = {"tags", "text"}
"""Criteria whose indexes have the user in their keys."""


def form_of(node: Node) -> Form:
    match node:
        case Term(name):
            return name
        case Not(part):
            return "not", (form_of(part),)
        case AllOf(parts):
            return "and", tuple(map(form_of, parts))
        case AnyOf(parts):
            return "or", tuple(map(form_of, parts))


def values_of(node: Node, now: datetime) -> Iterator[Any]:
    """In the order in which `condition` binds them."""
    match node:
        case Term(name, value):
            if CRITERIA[name].type is not None:
                yield now if name == "overdue" else value
        case Not(part):
            yield from values_of(part, now)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from values_of(part, now)


def names_in(form: Form) -> Iterator[str]:
    """Of the criteria, in order."""
    if isinstance(form, str):
        yield form
    else:
        for part in form[1]:
            yield from names_in(part)


def conjuncts(form: Form) -> tuple[Form, ...]:
    """What is joined by AND at the top."""
    return form[1] if isinstance(form, tuple) and form[0] == "and" else (form,)


def condition(form: Form) -> ColumnElement[bool]:
    return _condition(form, map("in_{}".format, count()))


def sought_condition(form: Form) -> ColumnElement[bool]:
    """The same for `sought`: of the parts that are joined by AND, only words and tags are for an index."""
    names = map("in_{}".format, count())
    made = [(part, _condition(part, names)) for part in conjuncts(form)]
    return and_(true(), *(each if part in SOUGHT else each.is_(true()) for part, each in made))


def _condition(form: Form, names: Iterator[str]) -> ColumnElement[bool]:
    if isinstance(form, str):
        kind, line = CRITERIA[form]
        return line(None if kind is None else bindparam(next(names), type_=kind))
    joined, parts = form
    made = [_condition(part, names) for part in parts]
    if joined == "not":
        return not_(made[0])
    return and_(true(), *made) if joined == "and" else or_(false(), *made)


def canonical(node: Node) -> Node:
    """Flat, and its parts in one order: what asks for the same in another order shares a statement."""
    if isinstance(node, Not):
        return Not(canonical(node.part))
    if isinstance(node, Term):
        return node
    kind = type(node)
    parts = [canonical(part) for part in node.parts]
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, kind) else [part])]
    return flat[0] if len(flat) == 1 else kind(tuple(sorted(flat, key=lambda part: str(form_of(part)))))
