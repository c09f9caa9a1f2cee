"""The door that every write of a user's data goes through, as statements for any table.

Each changed row takes the next number of its user's counter as its `version`, in commit order: the
counter's row is locked first and held to the commit. That number is the row's version, its ETag and the
position in the feed of changes.

Parameters are never named like columns (SQLAlchemy would put them into SET): `new_…` is a value to
insert, `set_…` a value to change.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Integer,
    Table,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    column,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import Insert as Upsert

from backend.clocks import stamped
from backend.models import Activity, table
from backend.statements import COUNTER, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

Turn = Literal["", "deleted", "restored", "left", "scrubbed"]

ACTIVITY = table(Activity)
ROWS = bindparam("rows", type_=JSONB)
BY_SESSION, BY_TOKEN = (bindparam(f"by_{kind}", type_=Uuid()) for kind in ("session", "token"))
"""Who asks, for the activity. `scope.py` gives them their values."""


@statement
def reserve() -> Update:
    """`changes` numbers at once, of which the last is returned. More than needed does no harm."""
    return _counted(bindparam("changes", type_=Integer)).returning(COUNTER.c.seq)


def _counted(changes: Any) -> Update:
    return update(COUNTER).where(COUNTER.c.user_id == OWNER).values(seq=COUNTER.c.seq + changes)


def _door(changes: Any = 1) -> CTE:
    """The next number and the time, which is read after the lock was had."""
    return _counted(changes).returning(COUNTER.c.user_id, COUNTER.c.seq, func.clock_timestamp().label("at")).cte("door")


def _times(target: Table) -> dict[str, str]:
    """Columns that keep the time at which another became true: `{completed_at: completed}`."""
    return {c.name: c.info["when"] for c in target.c if "when" in c.info}


def _placed(target: Table, version: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that place a row by hand: at the end, unless it is said where.

    The version as a key of `rules.order`: an integer of 14 digits, which stay below g. What comes after it by hand,
    to base 62, falls behind the numbers that are used up meanwhile.
    """
    end: Any = func.concat(
        literal_column("'n'"), func.lpad(func.to_hex(version), literal_column("14"), literal_column("'0'"))
    )
    return {c.name: func.coalesce(given.get(c.name, null()), end) for c in target.c if "placed" in c.info}


def _inserted(target: Table, seq: CTE, version: Any, given: dict[str, Any], source: Any = None) -> Upsert:
    row = {"user_id": seq.c.user_id, "version": version, **given, "updated_at": seq.c.at}
    row |= _placed(target, version, given)
    row["created_at"] = func.coalesce(given["created_at"], seq.c.at) if "created_at" in given else seq.c.at
    if "created_version" in target.c:
        row["created_version"] = version
    for stamp, flag in _times(target).items():
        row[stamp] = case((given[flag], seq.c.at), else_=null())
    rows = select(*row.values()).select_from(seq if source is None else seq.join(source, true()))
    return Upsert(target).from_select(list(row), rows, include_defaults=False)


@statement
def create(target: Table, given: tuple[str, ...], shown: Callable[[Any], Any]) -> Query:
    """Inserts one row. No row comes back when the account is gone; a taken id is an IntegrityError."""
    seq = _door()
    values = {name: bindparam(f"new_{name}", type_=target.c[name].type) for name in given}
    made = _inserted(target, seq, seq.c.seq, values).returning(*target.c).cte("made")
    item = as_json(made, shown(made.c))
    created = select(made.c.version, text_of(item)).select_from(made.join(item, true()))
    return created.add_cte(noted(made)) if "activity" in target.info else created


@statement
def create_many(
    target: Table,
    given: tuple[str, ...],
    shown: Callable[[Any], Any],
    skip_existing: bool = False,
    activity: bool = True,
) -> Query:
    """Inserts `rows`, a JSON array of objects that have `given` and their place `n` from 1, numbered in that order.

    `skip_existing` leaves rows alone whose id is there already; their numbers stay unused. Without `activity`,
    nothing is said of them there.
    """
    count = func.jsonb_array_length(ROWS)
    seq = _door(count)
    rows = (
        func.jsonb_to_recordset(ROWS)
        .table_valued(column("n", Integer), *(column(name, target.c[name].type) for name in given), name="given")
        .render_derived(with_types=True)
    )
    inserted = _inserted(target, seq, seq.c.seq - count + rows.c.n, {name: rows.c[name] for name in given}, rows)
    if skip_existing:
        inserted = inserted.on_conflict_do_nothing(index_elements=["user_id", "id"])
    made = inserted.returning(*target.c).cte("made")
    item = as_json(made, shown(made.c))
    created = select(made.c.version, text_of(item)).select_from(made.join(item, true())).order_by(made.c.version)
    return created.add_cte(noted(made)) if activity and "activity" in target.info else created


def _set(target: Table, sent: Iterable[str], version: Any, at: Any) -> dict[str, Any]:
    new: dict[str, Any] = {name: bindparam(f"set_{name}", type_=target.c[name].type) for name in sent}
    for stamp, flag in _times(target).items():
        if flag in new:
            new[stamp] = case((new[flag], func.coalesce(target.c[stamp], at)), else_=null())
    return {**new, "version": version, "updated_at": at}


def _this(target: Table) -> tuple[ColumnElement[bool], ...]:
    return (
        target.c.user_id == OWNER,
        target.c.id == bindparam("row_id", type_=Uuid()),
        target.c.deleted_at.is_(None),
    )


@statement
def change(target: Table, sent: frozenset[str], shown: Callable[[Any], Any], expected: bool = False) -> Query:
    """Changes the fields `sent` of the row `row_id`; `{deleted_at}` makes it a tombstone.

    Comes back: no row when there is none; `seen` alone when its version is not among `expected`;
    `seen`, `version` and the row's `body` when it was changed. What was there is outer-joined, so that
    the cases come apart in one trip; `seen` is from before the wait for the lock.
    """
    seq = _door()
    stale = (
        [target.c.version == func.any(bindparam("expected", type_=ARRAY(target.c.version.type)))] if expected else []
    )
    new = _set(target, sent - {"deleted_at"}, seq.c.seq, seq.c.at) | stamped(target, sent, seq.c.seq, seq.c.at)
    if "deleted_at" in sent:
        new["deleted_at"] = seq.c.at
    where = [*_this(target), target.c.user_id == seq.c.user_id, *stale]
    told, was = _told(target, sent), []
    if told:
        # The statement's snapshot is older than its wait for the counter; a row that is locked is read anew.
        before = _before(target, told).where(*where).with_for_update(of=target, key_share=True).cte("before")
        where.append(target.c.id == before.c.id)
        was = [before.c[f"was_{name}"] for name in told]
    changed = update(target).where(*where).values(new).returning(*target.c, *was).cte("changed")
    seen = select(target.c.version.label("seen")).where(*_this(target)).subquery("seen")
    item = as_json(changed, shown(changed.c))
    answer = select(seen.c.seen, changed.c.version, text_of(item)).select_from(
        seen.outerjoin(changed, true()).outerjoin(item, true())
    )
    return answer.add_cte(noted(changed, told)) if told else answer


@statement
def change_many(target: Table, sent: frozenset[str], each: tuple[str, ...] = (), turn: Turn = "") -> Query | Update:
    """Changes the rows `ids`, numbered in their order after `before`; the ids that were there come back.

    `sent` is the same for all; the columns `each` have for every row a value of its own, in arrays `each_…`. `turn`
    says what else becomes of the rows: `deleted` makes tombstones of them; `restored`, `left` (by what took it along)
    and `scrubbed` are for those in the trash. For the transaction form: it has counted before, so that nobody else
    changes what this statement sees.
    """
    arrays = [bindparam(f"each_{name}", type_=ARRAY(target.c[name].type)) for name in each]
    given = (
        func.unnest(bindparam("ids", type_=ARRAY(Uuid())), *arrays)
        .table_valued("id", *each, with_ordinality="n", name="given")
        .render_derived()
    )
    at = func.clock_timestamp()
    state = [target.c.deleted_at.is_(None)]
    if turn in {"restored", "left", "scrubbed"}:
        state = [
            target.c.deleted_at.is_not(None),
            *([target.c.scrubbed_at.is_(None)] if "scrubbed_at" in target.c else []),
        ]
    these = [target.c.user_id == OWNER, target.c.id == given.c.id, *state]
    told = _told(target, {*sent, *each, *(["deleted_at"] if turn in {"deleted", "restored"} else [])})
    before = _before(target, told).add_columns(*(given.c[name] for name in ("n", *each))).where(*these).cte("before")
    named = before if told else given
    version = bindparam("before", type_=target.c.version.type) + named.c.n
    meant = {*sent, "deleted_at"} if turn in {"deleted", "restored"} else sent
    changed_to = {name: named.c[name] for name in each}
    new = _set(target, sent, version, at) | stamped(target, meant, version, at, changed_to)
    new |= changed_to | _turned(target, turn, at)
    if not told:
        return update(target).where(*these).values(new).returning(target.c.id)
    was = [before.c[f"was_{name}"] for name in told]
    this = target.c.user_id == OWNER, target.c.id == before.c.id
    now = [target.c[name] for name in ("user_id", "id", "version", "updated_at", *told)]
    changed = update(target).where(*this).values(new).returning(*now, *was).cte("changed")
    return select(changed.c.id).add_cte(noted(changed, told))


def _turned(target: Table, turn: Turn, at: Any) -> dict[str, Any]:
    if turn == "deleted":
        return {"deleted_at": at}
    if turn == "restored":
        return {"deleted_at": null(), "deleted_with": null()}
    if turn == "left":
        return {"deleted_with": null()}
    if turn == "scrubbed":
        return {"scrubbed_at": at, **{c.name: c.info["scrubbed"] for c in target.c if "scrubbed" in c.info}}
    return {}


def _told(target: Table, sent: Iterable[str]) -> list[str]:
    """The fields among `sent` whose changes the activity tells: none of a table that has none."""
    if "activity" not in target.info:
        return []
    return [name for name in (*target.info["activity"], "deleted_at") if name in sent]


def _before(target: Table, told: Iterable[str]) -> Query:
    """What was there: each field as `was_…`."""
    return select(target.c.id, *(target.c[name].label(f"was_{name}") for name in told))


def noted(row: CTE, told: Sequence[str] = ()) -> CTE:
    """Part of a statement: the activity's row for each that was made, or of which a field of `told` became another.

    `row` is what was written, with what was there as `was_…`.
    """
    said: dict[str, Any] = {"user_id": row.c.user_id, "version": row.c.version}
    said |= {"task_id": row.c.id, "at": row.c.updated_at}
    said |= {"kind": _kind(row, told), "session_id": BY_SESSION, "token_id": BY_TOKEN}
    fields = [name for name in told if name != "deleted_at"]
    if fields:
        said["changes"] = func.jsonb_strip_nulls(func.jsonb_build_object(*_changes(row, fields)))
    rows = select(*said.values())
    if told:
        was, now = (tuple_(*(row.c[f"{of}{name}"] for name in told)) for of in ("was_", ""))
        rows = rows.where(was.is_distinct_from(now))
    return insert(ACTIVITY).from_select(list(said), rows, include_defaults=False).cte("noted")


def _kind(row: CTE, told: Sequence[str]) -> ColumnElement[str]:
    created, changed, deleted, restored = (
        literal_column(f"'{kind}'", Text()) for kind in ("created", "changed", "deleted", "restored")
    )
    if "deleted_at" in told:
        return case((row.c.deleted_at.is_(None), restored), else_=deleted)
    return changed if told else created


def _changes(row: CTE, fields: Iterable[str]) -> Iterator[ColumnElement[Any]]:
    """Names, and `[from, to]` or null."""
    for name in fields:
        was, now = (
            iso(each) if isinstance(each.type, DateTime) else each for each in (row.c[f"was_{name}"], row.c[name])
        )
        yield literal_column(f"'{name}'", Text())
        yield case((was.is_distinct_from(now), func.jsonb_build_array(was, now)))


def rows_of(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `create_many` takes as `rows`."""
    return [{"n": n, **each} for n, each in enumerate(objects, start=1)]
