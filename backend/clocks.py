"""When each field group of a row was last changed, and by which device: what merges are decided by (rules/merge.py)."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Table,
    Text,
    bindparam,
    case,
    extract,
    func,
    literal_column,
    or_,
    type_coerce,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects.postgresql import JSONB

BY_CLIENT, BY_CLOCK = bindparam("by_client", type_=Text()), bindparam("by_clock", type_=BigInteger())
"""The device whose operation this is, and its clock; null where it is none's."""


def stamped(
    target: Table, sent: Iterable[str], version: Any, at: Any, each: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The clocks of the field groups that have one of `sent`: each later than it was, as whoever writes has seen it.

    `each` has new values that may be the old ones: these change a group only where they are others.
    """
    groups = target.info.get("groups", {})
    meant = [group for group, fields in groups.items() if not set(fields).isdisjoint(sent)]
    perhaps = {
        group: [target.c[name].is_distinct_from((each or {})[name]) for name in fields if name in (each or {})]
        for group, fields in groups.items()
        if group not in meant
    }
    clocks: Any = target.c.clocks if groups else None
    if meant:
        clocks = clocks.concat(_registers(target, meant, version, at))
    for group, others in perhaps.items():
        if others:
            changed = case(
                (or_(*others), _registers(target, [group], version, at)), else_=literal_column("'{}'", JSONB())
            )
            clocks = clocks.concat(changed)
    return {"clocks": clocks} if meant or any(perhaps.values()) else {}


def _registers(target: Table, groups: Iterable[str], version: Any, at: Any) -> ColumnElement[Any]:
    micros = cast_to(extract("epoch", at) * literal_column("1000000"), BigInteger)
    clock, registers = func.coalesce(BY_CLOCK, micros), []
    for group in groups:
        name = literal_column(f"'{group}'", Text())
        was = func.jsonb_extract_path_text(target.c.clocks, name, literal_column("'0'", Text()))
        later = func.greatest(clock, cast_to(was, BigInteger) + literal_column("1"))
        registers += [name, func.jsonb_build_array(later, version, cast_to(BY_CLIENT, Text))]
    return type_coerce(func.jsonb_build_object(*registers), JSONB)
