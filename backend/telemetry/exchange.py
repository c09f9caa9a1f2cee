"""One request and its answer while it is handled: what logs, metrics, traces and slow statements know of it.

In a context variable, so that whatever works for a request, work in the background included, knows which it is.
"""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")


@dataclass(slots=True)
class Exchange:
    id: str
    method: str
    route: str  # a template: a path holds ids, and whatever somebody types
    began: float  # of perf_counter
    status: int = 0  # 0 until the answer begins
    sent: int = 0  # bytes of the answer's body
    statements: int = 0
    statement_seconds: float = 0.0
    user_id: UUID | None = None
    error: Exception | None = None
    span: Any = None  # of OpenTelemetry, when there are traces


current: Final[ContextVar[Exchange | None]] = ContextVar("exchange", default=None)


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """X-Request-ID as a proxy or a client sent it, or a new one.

    A stranger's is only taken in a form that can be written anywhere: into a log, a header, a shell.
    """
    for name, value in headers:
        if name == b"x-request-id" and _WELL_FORMED.fullmatch(value):
            return value.decode()
    # No secret: a name. To ask the system for random bytes takes six times as long.
    return random.randbytes(16).hex()  # noqa: S311 # nosec B311


def is_of(user_id: UUID) -> None:
    if now := current.get():
        now.user_id = user_id


def failed(error: Exception | None) -> None:
    """The error that the answer tells of. None: it does not, since what failed is done anew."""
    if now := current.get():
        now.error = error


def route() -> str:
    now = current.get()
    return now.route if now else "no route"
