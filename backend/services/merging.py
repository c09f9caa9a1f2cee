"""What of a device's change holds where others changed the same row (rules/merge.py), and what is told of the rest."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from backend.rules import merge
from backend.rules.days import written
from backend.rules.merge import Register, Writer
from backend.schemas.sync import Operation
from backend.services.synced import Entity, Patch

Json = dict[str, Any]


def held(
    entity: Entity,
    patch: Patch,
    row: tuple[Mapping[str, Register], Json],
    writer: Writer,
    operation: Operation,
    conflicts: list[Json],
) -> Patch:
    """What of the change holds; what does not, on either side, goes to `conflicts`."""
    registers, there = row
    mine = wire(patch)
    held = set(patch.model_fields_set)
    for group, fields in groups_of(entity, patch).items():
        theirs = {name: there.get(name) for name in fields}
        verdict = merge.verdict(registers.get(group), writer)
        if verdict == "lost":
            held -= set(fields)
        if verdict != "after" and any(mine[name] != theirs[name] for name in fields if name in mine):
            lost = theirs if verdict == "won" else {name: mine[name] for name in fields if name in mine}
            winner = "operation" if verdict == "won" else "server"
            about = {"n": operation.n, "entity": operation.entity, "id": str(operation.id), "group": group}
            conflicts.append({**about, "winner": winner, "lost": lost})
    return type(patch).model_construct(held, **{name: getattr(patch, name) for name in held})


def wire(patch: Patch) -> Json:
    """As the row has it on the wire."""
    return {name: _as_read(value) for name, value in patch.sent().items()}


def _as_read(value: Any) -> Any:
    if isinstance(value, datetime):
        return written(value)
    return str(value) if isinstance(value, UUID | StrEnum) else value


def groups_of(entity: Entity, patch: Patch) -> dict[str, tuple[str, ...]]:
    return {name: fields for name, fields in entity.groups.items() if not patch.model_fields_set.isdisjoint(fields)}


def reaches_others(entity: Entity, patch: Patch) -> bool:
    """Parts go where their task goes."""
    return entity.kind.noun in {"task", "project"} and not patch.model_fields_set.isdisjoint(
        {"project_id", "parent_id"}
    )
