"""A client of Tend: `AsyncTend` and `Tend` for the API, `Store` with `AsyncOffline` or `Offline` for working without a
connection.
"""

from tend_client._async.client import AsyncTend
from tend_client._async.lists import AsyncCollection
from tend_client._async.offline import AsyncOffline
from tend_client._sync.client import Tend
from tend_client._sync.lists import Collection
from tend_client._sync.offline import Offline
from tend_client.auth import Tokens
from tend_client.errors import (
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    NotSignedIn,
    NotThere,
    OutOfStep,
    PreconditionFailed,
    Problem,
    TendError,
    TooMany,
    Unavailable,
    Unreachable,
)
from tend_client.models import Account, Comment, Filter, Page, Project, Task
from tend_client.store import Store

__all__ = [
    "Account",
    "AsyncCollection",
    "AsyncOffline",
    "AsyncTend",
    "Collection",
    "Comment",
    "Conflict",
    "Filter",
    "Invalid",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "NotThere",
    "Offline",
    "OutOfStep",
    "Page",
    "PreconditionFailed",
    "Problem",
    "Project",
    "Store",
    "Task",
    "Tend",
    "TendError",
    "Tokens",
    "TooMany",
    "Unavailable",
    "Unreachable",
]
