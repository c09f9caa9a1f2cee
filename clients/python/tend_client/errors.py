"""What can go wrong.

TendError
├── Unreachable          no answer came, however often it was tried
├── NotThere             the store has no such row
└── Problem              the server answered with a problem (RFC 9457)
    ├── NotSignedIn          401
    ├── NotAllowed           403
    ├── NotFound             404
    ├── Conflict             409
    │   └── OutOfStep            the operations of a store are not numbered as the server knows them
    ├── PreconditionFailed   412
    ├── Invalid              422
    ├── TooMany              429
    └── Unavailable          503
"""

from typing import Any

import httpx


class TendError(Exception):
    pass


class Unreachable(TendError):
    pass


class NotThere(TendError, KeyError):
    def __str__(self) -> str:
        return str(self.args[0])


class Problem(TendError):
    """`body` is all that the server said; `retry_after` is in seconds."""

    def __init__(self, status: int, body: dict[str, Any], retry_after: float | None = None) -> None:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in body.get("errors", []))
        super().__init__("; ".join([f"{status}: {body.get('detail', '')}", *wrong]))
        self.status = status
        self.body = body
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        return str(self.body.get("type", ""))

    @property
    def detail(self) -> str:
        return str(self.body.get("detail", ""))

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Where a request was wrong: `loc`, `msg` and `type` of each."""
        return list(self.body.get("errors", []))


class NotSignedIn(Problem):
    pass


class NotAllowed(Problem):
    pass


class NotFound(Problem):
    pass


class Conflict(Problem):
    pass


class OutOfStep(Conflict):
    pass


class PreconditionFailed(Problem):
    pass


class Invalid(Problem):
    pass


class TooMany(Problem):
    pass


class Unavailable(Problem):
    pass


_BY_STATUS: dict[int, type[Problem]] = {
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    422: Invalid,
    429: TooMany,
    503: Unavailable,
}
OUT_OF_STEP = {f"urn:tend:problem:{name}" for name in ("client-forked", "mutation-gap", "client-ahead")}
IN_FLIGHT = "urn:tend:problem:in-flight"


def problem_of(response: httpx.Response) -> Problem:
    """The answer as an error; one that is not the server's own, as a proxy's, has its status and no more."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    wait = response.headers.get("retry-after", "")
    kind = OutOfStep if body.get("type") in OUT_OF_STEP else _BY_STATUS.get(response.status_code, Problem)
    return kind(response.status_code, body, float(wait) if wait.isdigit() else None)
