"""The wall between users: no statement reaches a user's table but through its owner.

A user's table is one with a `user_id` column. A statement that selects, updates, deletes or inserts its
rows is sound when each such table is fenced: its `user_id` equals `:owner`, directly or through other
columns that do, in a condition that no OR, NOT or outer join can open. Whatever cannot be read, text SQL
above all, is refused. A statement that crosses users on purpose says so by name:
`statement.execution_options(crosses_users="why")`.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID
from weakref import WeakSet

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
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
from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.compiler import StrSQLCompiler
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BooleanClauseList,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Grouping,
    True_,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.selectable import AliasedReturnsRows, TableClause
from sqlalchemy.types import Uuid
from sqlmodel import SQLModel

OWNER: Final = bindparam("owner", type_=Uuid())
"""Whose rows: every statement about a user's table binds it, and `scope.py` alone gives it its value."""

S = TypeVar("S", bound=ClauseElement)
READABLE: Final = (Select, CompoundSelect, Insert, Update, Delete)
Place = tuple[str, str]  # a table's or alias's name, and a column's
_sound: WeakSet[ClauseElement] = WeakSet()
_EXTRA: dict[str, Table] = {}
_OPERATORS = {"@@", "@>", "?|"}
_READS_BY_ITSELF = re.compile(
    r"_to_xml|^ts_stat$|^dblink|^pg_(?!sleep$|try_advisory_xact_lock$)|^lo_|^ts_rewrite$|^current_setting$|^set_config$"
)
_COMPILER: Any = StrSQLCompiler(StrCompileDialect(), None)
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
    if options.get("crosses_users"):
        return
    if not isinstance(statement, READABLE):
        raise WallBreached(f"Neither a query nor a change: {_sql(statement)}")
    _Reader(owner).read_all(statement)


def watch(connection: Connection, statement: Any, many: Any, one: Any, _options: Any) -> None:
    """A `before_execute` listener: for ad-hoc sessions, and in tests for every engine."""
    owner = connection.get_execution_options().get("owner")
    for values in [*(many or []), one or {}]:
        if owner is not None and values.get(OWNER.key, owner) != owner:
            raise WallBreached("A session of one user binds another as :owner")
    if isinstance(statement, ClauseElement) and (owner is not None or statement not in _sound):
        check(statement, owner)


def refuse_driver_sql(_connection: Any, _cursor: Any, sql: str, _values: Any, context: Any, _many: bool) -> None:
    """A `before_cursor_execute` listener: what was never an expression could not be read."""
    if getattr(context, "compiled", None) is None:
        raise WallBreached(f"Text SQL cannot be checked: {sql}")


def is_owned(table: Any) -> bool:
    table = _bottom(table)
    return isinstance(table, Table) and "user_id" in table.c and not table.info.get("identity")


class _Reader:
    def __init__(self, owner: UUID | None) -> None:
        self.owner = owner
        self.known: dict[int, set[Place]] = {}

    def read_all(self, statement: ClauseElement) -> None:
        """The statement and every one in it, wherever it stands."""
        for part in _within(statement):
            _readable(part)
            if isinstance(part, READABLE):
                self.read(part)

    def read(self, statement: ClauseElement) -> set[Place]:
        """The columns that equal the owner in this statement; refuses it when a user's table has none."""
        if id(statement) in self.known:
            return self.known[id(statement)]
        fenced: set[Place] = set()
        self.known[id(statement)] = fenced
        sources = list(_sources(statement))
        for source in sources:
            if isinstance(source, AliasedReturnsRows):
                fenced |= {(source.name, name) for name in self._outputs(_bottom(source))}
        self._follow(list(_equalities(statement)), fenced)
        if isinstance(statement, Insert):
            self._insert(statement)
            sources.remove(statement.table)
            if is_owned(statement.table):
                fenced.add((statement.table.name, "user_id"))
        if isinstance(statement, Update) and is_owned(statement.table):
            for column in statement._values or {}:
                if str(getattr(column, "key", column)) == "user_id":
                    raise WallBreached(f"A row is given to another user in: {_sql(statement)}")
        for source in sources:
            if is_owned(source) and (_name(source), "user_id") not in fenced:
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
        if isinstance(element, CompoundSelect):  # its columns go by place, under the names of the first
            halves = [[self._gives(each, column) for column in each.selected_columns] for each in element.selects]
            names = [str(column.key) for column in element.selected_columns]
            return {name for name, *given in zip(names, *halves, strict=True) if all(given)}
        if not isinstance(element, Select | Update | Delete | Insert):
            return set()
        fenced = self.read(element)
        columns: list[Any] = list(element.selected_columns if isinstance(element, Select) else element.exported_columns)
        return {str(column.key) for column in columns if self._is_owner(_bare(column), fenced)}

    def _gives(self, half: Any, column: Any) -> bool:
        return isinstance(half, Select) and self._is_owner(_bare(column), self.read(half))

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


def _readable(part: ClauseElement) -> None:
    """Refuses what hides SQL from a reader of expressions."""
    if isinstance(part, TextClause):
        raise WallBreached(f"Text SQL cannot be checked: {part}")
    if isinstance(part, ColumnClause) and part.is_literal and not _HARMLESS.fullmatch(part.name):
        raise WallBreached(f"A literal column cannot be checked: {part}")
    if isinstance(part, TableClause) and part != known_table(part.name):
        raise WallBreached(f"{part.name} is not one of the application's tables")
    if isinstance(part, FunctionElement) and _READS_BY_ITSELF.search(str(getattr(part, "name", ""))):
        raise WallBreached(f"{part.name} reads tables by itself")
    operator = getattr(part, "operator", None)
    if isinstance(operator, custom_op) and operator.opstring not in _OPERATORS:
        raise WallBreached(f"{operator.opstring} is not one of the operators that are used here")
    beside = () if isinstance(part, Table) else ("_prefixes", "_suffixes", "_statement_hints", "_hints")
    if any(getattr(part, name, ()) for name in beside):
        raise WallBreached(f"Text beside an expression cannot be checked: {_sql(part)}")


def known_table(name: str) -> Table | None:
    return SQLModel.metadata.tables.get(name, _EXTRA.get(name))


def allow(table: Table) -> Table:
    """For a table that is not the application's own, and no user's."""
    _EXTRA[table.name] = table
    return table


def _bottom(source: Any) -> Any:
    """What is below all aliases."""
    while isinstance(source, AliasedReturnsRows):
        source = source.element
    return source


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
    waiting: list[Any] = [statement]
    seen: dict[int, Any] = {}  # keeps them, since an id is a part's own only as long as the part is there
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        waiting.extend(part.get_children())
        if isinstance(part, ClauseElement):
            yield part
            source = getattr(part, "table", None)
            if isinstance(part, ColumnElement) and isinstance(source, AliasedReturnsRows):
                waiting.append(source)


def _is_correlated(statement: Select[Any], source: FromClause) -> bool:
    """Leaves a source to the select around it. A user's table is never left: it is fenced where it is named."""
    return source in statement._correlate and not is_owned(source)


@lru_cache(maxsize=8)
def _froms(statement: Select[Any]) -> Sequence[FromClause]:
    """As `get_final_froms` has it, which compiles the whole statement beforehand and makes no use of it."""
    state: Any = statement._compile_state_factory(statement, _COMPILER)
    return tuple(state._get_display_froms())


def _sources(statement: ClauseElement) -> Iterator[FromClause]:
    """What a statement itself reads from or writes to: joins taken apart, subqueries as they are."""
    if isinstance(statement, Select):
        froms = [source for source in _froms(statement) if not _is_correlated(statement, source)]
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
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.is_:
        if isinstance(criterion.right, True_):
            yield from _conjuncts(criterion.left, only)
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        yield criterion.left, criterion.right, only
