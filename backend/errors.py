"""What can go wrong on purpose.

TendError
├── NotSignedIn            no token, or one that is not valid
│   ├── SecondFactorNeeded the password was right, and a code is asked for besides
│   └── SignInAgain        the token is valid, and the sign-in too old for what is asked
├── NotFound               not there, in the trash, or somebody else's: the three look the same
├── Conflict               the database already holds what may be there once
│   ├── InFlight           the same request, by its Idempotency-Key, is still being answered
│   ├── Circle             tasks would wait for one another in a circle
│   └── OutOfStep          a device's operations are not numbered as the server knows them
├── PreconditionFailed     If-Match names another version
├── Invalid                the request can be read but not meant
├── Unsupported            a body in a media type that is not spoken here
├── NotAllowed             signed in, but not for this
├── TooMany                tried too often; it says when to try again
├── Unavailable            the database is away or too busy; nothing is known to be lost
│   └── Unsettled          a change was sent, and whether it was made is not known
└── NotOffered             this server was not set up for it

`handlers.py` turns them into answers; nothing here knows an HTTP library.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypedDict


class Fault(TypedDict):
    """One thing wrong with a request: where, in words for a person, and in a word for a program."""

    loc: list[str | int]
    msg: str
    type: str


_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python before 3.13 has older words


def problem_of(path: str, status: int, detail: str) -> dict[str, Any]:
    """The body of every error (RFC 9457), but for `errors`."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    kind = "urn:tend:problem:" + title.lower().replace(" ", "-")
    return {"type": kind, "title": title, "status": status, "detail": detail, "instance": path}


def rate_limit(name: str, most: int, seconds: int, left: int, wait: int) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers has them."""
    return {"RateLimit-Policy": f'"{name}";q={most};w={seconds}', "RateLimit": f'"{name}";r={left};t={wait}'}


_WORDS = {
    "missing": "required",
    "extra_forbidden": "no such field",
    "json_invalid": "not JSON: {error}",
    "string_type": "expected a string",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "enum": "expected {expected}",
    "literal_error": "expected {expected}",
    "too_short": "expected at least {min_length} of them, got {actual_length}",
    "too_long": "expected at most {max_length} of them, got {actual_length}",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than_equal": "expected {le} or less",
    "int_parsing": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
}


def words_for(error: Mapping[str, Any]) -> str:
    """What Pydantic found wrong, for a person who has never heard of Pydantic."""
    if error["type"] == "extra_forbidden" and error["loc"][:1] == ("query",):
        return "no such parameter"
    given = {"error": "it cannot be read", **error.get("ctx", {})}
    words = _WORDS[error["type"]].format(**given) if error["type"] in _WORDS else str(error["msg"])
    return words.removeprefix("Value error, ").replace(" at line 1 column ", " at character ")


def faults_of(errors: Iterable[Mapping[str, Any]], *before: str | int) -> list[Fault]:
    """What Pydantic found wrong, below the place `before`."""
    return [Fault(loc=[*before, *map(_loc, each["loc"])], msg=words_for(each), type=each["type"]) for each in errors]


def _loc(part: Any) -> str | int:
    """A field's name is the client's own words: cut, and without what UTF-8 and Postgres cannot hold."""
    return part if isinstance(part, int) else str(part).encode(errors="replace").decode().replace("\0", "?")[:100]


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


class SignInAgain(NotSignedIn):
    """Within `seconds` before (RFC 9470)."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"This needs a sign-in of the last {seconds // 60} minutes. Sign in again, and then try it.",
            token_sent=True,
        )
        self.seconds = seconds


class SecondFactorNeeded(NotSignedIn):
    """`challenge` is sent back with the code."""

    def __init__(self, challenge: str) -> None:
        super().__init__("The password is right. Send the code of your authenticator app with this challenge.")
        self.challenge = challenge


class NotAllowed(TendError):
    """`scope` is what the token would need (RFC 6750, section 3.1)."""

    def __init__(self, detail: str, *, scope: str | None = None) -> None:
        super().__init__(detail)
        self.scope = scope


class TooMany(TendError):
    """`most` in `seconds` under the limit's `name`; `retry_after` is in seconds."""

    def __init__(self, detail: str, name: str, most: int, seconds: int, retry_after: int) -> None:
        super().__init__(detail)
        self.name = name
        self.most = most
        self.seconds = seconds
        self.retry_after = max(1, retry_after)


class NotFound(TendError):
    pass


class Conflict(TendError):
    pass


class InFlight(Conflict):
    """`retry_after` is in seconds."""

    retry_after = 1

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still being answered. Send it again in a second.")


class Circle(Conflict):
    """`path` are ids and titles of tasks, each of which depends on the next; the last is the first again."""

    def __init__(self, path: Sequence[tuple[str, str]]) -> None:
        between = len(path) - 2
        way = f", by way of {between} other{'s' if between > 1 else ''}: `path` has them" if between else ""
        super().__init__(f"The task would depend on itself{way}.")
        self.path = path


class OutOfStep(Conflict):
    """`last_n` is up to where the server has the device's operations.

    `client_forked`: another one under this number was done already, as by a copy of the device's store.
    `mutation_gap`: some before it are missing. `client_ahead`: the server told of results that it does not have, as
    when it was restored from a backup.
    """

    def __init__(self, kind: Literal["client_forked", "mutation_gap", "client_ahead"], loc: str, last_n: int) -> None:
        words = {
            "client_forked": "Another operation of this client_id had this number. Take a new client_id, number what "
            "was not confirmed anew from 1, and synchronise without a cursor.",
            "mutation_gap": f"Operations are missing: the next one has the number {last_n + 1}.",
            "client_ahead": "The server does not have what it told of before: it was restored. Take a new client_id, "
            "number what was not confirmed anew from 1, and synchronise without a cursor.",
        }
        super().__init__(words[kind], [Fault(loc=["body", loc], msg=f"the last one here is {last_n}", type=kind)])
        self.kind = kind
        self.last_n = last_n


class PreconditionFailed(TendError):
    pass


class Invalid(TendError):
    @classmethod
    def at(cls, *loc: str | int, msg: str) -> "Invalid":
        return cls("The request is not valid.", [Fault(loc=list(loc), msg=msg, type="value_error")])


class Unsupported(TendError):
    pass


class Unavailable(TendError):
    """`retry_after` is in seconds."""

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unsettled(Unavailable):
    """A change was sent to the database, and whether it was made is not known: the connection broke, or was late."""

    def __init__(self, then: str = "Look before you send it again.") -> None:
        super().__init__(f"The database did not say whether this was done. {then}")


class NotOffered(TendError):
    """Another server of the same code may offer it: what is missing is a setting."""
