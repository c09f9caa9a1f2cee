"""What is asked of a task, as a tree. No SQL, and no clock: times are instants in UTC."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Term:
    """A criterion, by the name that services/task_criteria.py gives it, and the value it is asked with."""

    name: str
    value: Any = field(default=None, hash=False)  # it may be a list


@dataclass(frozen=True, slots=True)
class AllOf:
    """True of everything when empty."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True of nothing when empty."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The complement: what has no due date is not due today."""

    part: "Node"


Node = Term | AllOf | AnyOf | Not
