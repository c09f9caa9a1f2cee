"""The task on the wire: the columns that are read, and how they are shown."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause

from backend.services.task_criteria import TASKS, place
from backend.statements import iso


def shown(row: Any) -> list[ColumnElement[Any]]:
    """From any row that has the columns of `columns`, or of the table."""
    return [
        row.id,
        row.title,
        row.description,
        row.priority,
        iso(row.due_date),
        row.tags,
        row.completed,
        iso(row.completed_at),
        row.project_id,
        row.parent_id,
        place(row).label("position"),
        row.version,
        iso(row.created_at),
        iso(row.updated_at),
    ]


def columns(source: FromClause = TASKS) -> list[ColumnElement[Any]]:
    named = ["id", "title", "description", "priority", "due_date", "tags", "completed", "completed_at"]
    others = ["project_id", "parent_id", "position", "version", "created_at", "updated_at"]
    return [source.c[name] for name in [*named, *others]]
