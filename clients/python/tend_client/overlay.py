"""What a device shows: the server's row, and on top of it what the server has not confirmed."""

from collections.abc import Iterable
from typing import Any, Final

Json = dict[str, Any]

DEFAULTS: Final[dict[str, Json]] = {
    "tasks": {
        "description": None,
        "priority": "medium",
        "due_date": None,
        "tags": [],
        "completed": False,
        "completed_at": None,
        "project_id": None,
        "parent_id": None,
        "position": None,
    },
    "projects": {
        "description": None,
        "color": None,
        "favorite": False,
        "archived": False,
        "parent_id": None,
        "position": None,
    },
    "filters": {"sort": None, "order": None},
}
"""What the server will fill in. A position is the end."""


def overlaid(row: Json | None, operations: Iterable[Json]) -> Json | None:
    """None: there is none, or not any more. What is changed that is not there stays away."""
    for operation in operations:
        match operation["op"]:
            case "create":
                made = {**DEFAULTS.get(operation["entity"], {}), "version": 0}
                row = {**made, **(row or {}), "id": operation["id"], **operation["set"]}
            case "delete":
                row = None
            case "complete":
                row = row and {**row, "completed": True}
            case "update":
                row = row and {**row, **operation["set"]}
    return row
