"""What can go wrong on purpose.

TendError
├── NotSignedIn            no token, or one that is not valid
├── NotFound               not there, in the trash, or somebody else's: the three look the same
├── Conflict               the database already holds what may be there once
├── PreconditionFailed     If-Match names another version
├── Invalid                the request can be read but not meant
├── Unsupported            a body in a media type that is not spoken here
└── Unavailable            the database is away or too busy; nothing is known to be lost

`handlers.py` turns them into answers; nothing here knows HTTP.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class Fault(TypedDict):
    """One thing wrong with a request: where, in words for a person, and in a word for a program."""

    loc: list[str | int]
    msg: str
    type: str


def words_for(error: Mapping[str, Any]) -> str:
    """What Pydantic found wrong, for a person who has never heard of Pydantic."""
    if error["type"] == "json_invalid":
        return f"not JSON: {error.get('ctx', {}).get('error', 'it cannot be read')}".replace(" at line 1 column", " at")
    if error["type"] == "extra_forbidden":
        return "no such parameter" if error["loc"][:1] == ("query",) else "no such field"
    return str(error["msg"]).removeprefix("Value error, ")


class TendError(Exception):
    """`detail` is shown to the client: it never holds SQL, a secret or another user's data."""

    def __init__(self, detail: str, errors: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)


class NotSignedIn(TendError):
    """`token_sent` tells a wrong token from a missing one (RFC 6750, section 3.1)."""

    def __init__(self, detail: str, *, token_sent: bool = False) -> None:
        super().__init__(detail)
        self.token_sent = token_sent


class NotFound(TendError):
    pass


class Conflict(TendError):
    pass


class PreconditionFailed(TendError):
    pass


class Invalid(TendError):
    @classmethod
    def at(cls, *loc: str | int, msg: str, kind: str = "value_error") -> "Invalid":
        return cls("The request is not valid.", [Fault(loc=list(loc), msg=msg, type=kind)])


class Unsupported(TendError):
    pass


class Unavailable(TendError):
    """`retry_after` is in seconds."""

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
