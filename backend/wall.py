"""The wall between users: no statement reaches a user's table but through its owner.

A user's table is one with a `user_id` column. A statement that selects, updates, deletes or inserts its
rows is sound when each such table is fenced: its `user_id` equals `:owner`, directly or through other
columns that do, in a condition that no OR, NOT or outer join can open. Whatever cannot be read, text SQL
above all, is refused. A statement that crosses users on purpose says so by name:
`statement.execution_options(crosses_users="why")`.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID
from weakref import WeakSet

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    CursorResult,
    Delete,
    FromClause,
    Insert,
    Join,
    Select,
    Table,
    TextClause,
    Update,
    bindparam,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BooleanClauseList,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Grouping,
)
from sqlalchemy.sql.selectable import AliasedReturnsRows
from sqlalchemy.types import Uuid

OWNER: Final = bindparam("owner", type_=Uuid())
"""Whose rows: every statement about a user's table binds it, and `scope.py` alone gives it its value."""

S = TypeVar("S", bound=ClauseElement)
Place = tuple[str, str]  # a table's or alias's name, and a column's
_sound: WeakSet[ClauseElement] = WeakSet()
_HARMLESS = re.compile(r"\*|\d+|[A-Za-z_]+|'[^']*'")


class WallBreached(Exception):
    """A statement that could show or change another user's rows. A bug, so it is no TendError."""


def checked(statement: S) -> S:
    """The statement, known to be sound. Reads it once; afterwards it costs a look in a set."""
    if statement not in _sound:
        check(statement)
        _sound.add(statement)
    return statement


def check(statement: ClauseElement, owner: UUID | None = None) -> None:
    """Raises WallBreached. `owner` is who a literal value may name besides `:owner`, for ad-hoc sessions."""
    options: Any = getattr(statement, "get_execution_options", dict)()
    if not options.get("crosses_users"):
        _Reader(owner).read(statement)


def watch(connection: Connection, statement: Any, _many: Any, _one: Any, _options: Any) -> CursorResult[Any] | None:
    """A `before_execute` listener: for ad-hoc sessions, and in tests for every engine."""
    if isinstance(statement, ClauseElement) and statement not in _sound:
        check(statement, connection.get_execution_options().get("owner"))
    return None


def is_owned(table: Any) -> bool:
    return isinstance(table, Table) and "user_id" in table.c and not table.info.get("identity")


class _Reader:
    def __init__(self, owner: UUID | None) -> None:
        self.owner = owner
        self.known: dict[int, set[Place]] = {}

    def read(self, statement: ClauseElement) -> set[Place]:
        """The columns that equal the owner in this statement; refuses it when a user's table has none."""
        if id(statement) in self.known:
            return self.known[id(statement)]
        fenced: set[Place] = set()
        self.known[id(statement)] = fenced
        parts = list(_within(statement))
        for part in parts:
            if isinstance(part, TextClause):
                raise WallBreached(f"Text SQL cannot be checked: {part}")
            if isinstance(part, ColumnClause) and part.is_literal and not _HARMLESS.fullmatch(part.name):
                raise WallBreached(f"A literal column cannot be checked: {part}")
            if part is not statement and isinstance(part, Select | CompoundSelect | Update | Delete | Insert):
                self.read(part)
        sources = list(_sources(statement, parts))
        for source in sources:
            if isinstance(source, AliasedReturnsRows) and not isinstance(source.element, Table):
                fenced |= {(source.name, name) for name in self._outputs(source.element)}
        self._follow(list(_equalities(statement)), fenced)
        if isinstance(statement, Insert):
            self._insert(statement)
            sources.remove(statement.table)
            if is_owned(statement.table):
                fenced.add((statement.table.name, "user_id"))
        for source in sources:
            table = source.element if isinstance(source, AliasedReturnsRows) else source
            if is_owned(table) and (_name(source), "user_id") not in fenced:
                raise WallBreached(f"{_name(source)} is not fenced by its owner in: {_sql(statement)}")
        return fenced

    def _follow(self, equalities: list[tuple[Any, Any, str | None]], fenced: set[Place]) -> None:
        """To the owner, from column to column. `only` is the one side that an outer join fences."""
        grown = True
        while grown:
            grown = False
            for left, right, only in equalities:
                for near, far in ((left, right), (right, left)):
                    place = _place(near)
                    if place and place not in fenced and only in (None, place[0]) and self._is_owner(far, fenced):
                        fenced.add(place)
                        grown = True

    def _is_owner(self, expression: Any, fenced: set[Place]) -> bool:
        if isinstance(expression, BindParameter):
            if expression.key == OWNER.key:
                return expression.value is None
            return self.owner is not None and expression.value == self.owner
        return _place(expression) in fenced

    def _outputs(self, element: Any) -> set[str]:
        """The names under which a subquery or CTE gives the owner out."""
        if isinstance(element, CompoundSelect):
            return set.intersection(*(self._outputs(each) for each in element.selects))
        if not isinstance(element, Select | Update | Delete | Insert):
            return set()
        fenced = self.read(element)
        columns: list[Any] = list(element.selected_columns if isinstance(element, Select) else element.exported_columns)
        return {str(column.key) for column in columns if self._is_owner(_bare(column), fenced)}

    def _insert(self, statement: Insert) -> None:
        if not is_owned(statement.table):
            return
        clause: Any = statement._post_values_clause
        if clause is not None and "do_update" in clause.__visit_name__:
            raise WallBreached(f"An upsert could change a row through the back door: {_sql(statement)}")
        if statement.select is not None:
            names = [str(getattr(name, "key", name)) for name in statement._select_names or ()]
            columns: list[Any] = list(statement.select.selected_columns)
            given = columns[names.index("user_id")] if "user_id" in names else None
            sound = given is not None and self._is_owner(_bare(given), self.read(statement.select))
        else:
            values: Any = statement._values or {}
            sound = any(
                str(getattr(column, "key", column)) == "user_id" and self._is_owner(value, set())
                for column, value in values.items()
            )
        if not sound:
            raise WallBreached(f"Rows are inserted for somebody other than the owner: {_sql(statement)}")


def _sql(statement: ClauseElement) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is refused anyway
        return str(statement)


def _name(source: Any) -> str:
    return str(source.name)


def _place(expression: Any) -> Place | None:
    source = getattr(expression, "table", None)
    return (_name(source), expression.key) if source is not None and hasattr(source, "name") else None


def _bare(column: Any) -> Any:
    return getattr(column, "element", column)


def _within(statement: ClauseElement) -> Iterator[ClauseElement]:
    """Everything in a statement, and what its columns come from, which the tree does not lead to."""
    waiting: list[ClauseElement] = [statement]
    seen: set[int] = set()
    while waiting:
        for part in visitors.iterate(waiting.pop()):
            if id(part) in seen or not isinstance(part, ClauseElement):
                continue
            seen.add(id(part))
            yield part
            source = getattr(part, "table", None)
            if isinstance(part, ColumnElement) and isinstance(source, AliasedReturnsRows):
                waiting.append(source)


@lru_cache(maxsize=8)
def _froms(statement: Select[Any]) -> Sequence[FromClause]:
    """SQLAlchemy half compiles the statement to tell, so it is asked once."""
    return statement.get_final_froms()


def _sources(statement: ClauseElement, parts: Iterable[ClauseElement]) -> Iterator[FromClause]:
    """What a statement itself reads from or writes to: joins taken apart, subqueries as they are."""
    if isinstance(statement, Select):
        froms = [source for source in _froms(statement) if source not in statement._correlate]
    elif isinstance(statement, Update | Delete):
        froms = [statement.table]
        for criterion in statement._where_criteria:
            for column in visitors.iterate(criterion):
                source = getattr(column, "table", None)
                if isinstance(column, ColumnElement) and isinstance(source, FromClause) and source not in froms:
                    froms.append(source)
    elif isinstance(statement, Insert):
        froms = [statement.table]
    else:
        froms = []
    while froms:
        source = froms.pop()
        if isinstance(source, Join):
            froms += [source.left, source.right]
        else:
            yield source


def _equalities(statement: ClauseElement) -> Iterator[tuple[Any, Any, str | None]]:
    if isinstance(statement, Select | Update | Delete):
        for criterion in statement._where_criteria:
            yield from _conjuncts(criterion, None)
    if isinstance(statement, Select):
        joins: list[Any] = [source for source in _froms(statement) if isinstance(source, Join)]
        while joins:
            join = joins.pop()
            joins += [side for side in (join.left, join.right) if isinstance(side, Join)]
            if join.onclause is None or join.full or (join.isouter and isinstance(join.right, Join)):
                continue
            yield from _conjuncts(join.onclause, _name(join.right) if join.isouter else None)


def _conjuncts(criterion: Any, only: str | None) -> Iterator[tuple[Any, Any, str | None]]:
    if isinstance(criterion, Grouping):
        yield from _conjuncts(criterion.element, only)
    elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
        for clause in criterion.clauses:
            yield from _conjuncts(clause, only)
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        yield criterion.left, criterion.right, only
