"""What schemathesis is told besides, in the process that `tests/attack.py` starts: values, addresses, exceptions."""

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4
from zoneinfo import available_timezones

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import AllowHeaderMismatch, RejectedPositiveData

from backend.idempotency import MOST_CHARACTERS, PATTERN

REQUESTS_AN_ADDRESS: Final = 40
TERMS: Final = [
    *("figs", "quart*", '"the kitchen"', "-dead", "tag:home", '-tag:"deep work"', "priority:high", "priority>=medium"),
    *("due:today", "due<=+1w", "due:none", "created>=-1m", "is:pending", "is:overdue", "-has:description", "due:mon.."),
    *("(figs or tag:home)", "-(is:completed priority:low)", "or figs"),
]
NOT_SAYABLE: Final = {
    r"`page` and `cursor` do not go together": "two parameters of which each is fine",
    r"`page` reaches 10,000 rows deep; .*": "a product of two parameters",
    r"`(sort=relevance|highlight|fuzzy)` needs `search`": "a parameter that needs another",
    r"`search` has more than 32 words": "words are not counted by JSON Schema",
    r"with `fuzzy`, `search` is at most 8 words, .*": "the same, and only with another parameter",
    r"`search` and `filter` have more than 4 beginnings of words, like quart\*": "counted over two parameters",
    r"At character \d+: .*": "the grammar of filters, which is not regular, and days beyond the year 9999",
    r"not a cursor of this .*; begin again without one": "bound to the user, the filter and the sort",
    r"there is no such (saved filter|task|project).*": "an id that has to exist",
    r"name one: `after` or `before`": "two fields of which each is fine; oneOf would leave no plain type to generators",
    r"expected another (task|project) than the one .*": "an id that is in the path too",
    r"expected a key of fractional indexing, .*": "the first letter says how many follow: a pattern of 52 arms",
    r"`subtasks=complete` goes with `completed: true`": "a parameter that needs something of the body",
    r"a subtask is (in its parent's project|where its parent is; .*)": "depends on the parent",
    r"(subtasks are at most|a project is in at most) .*": "depends on the parent",
    r"not one of the addresses that are configured": "of a setting",
    r"not one that was mailed, used already, or too old; ask for another": "a secret",
    r"expected a time within the next 366 days": "depends on the clock",
    r"no such time in the years 1 to 9999 of UTC": "an offset may lead out of them",
    r"among the passwords that are tried first; choose another": "a list of ten thousand",
    r"another request had this key; .*": "a key that was sent before",
    r"the operations' numbers do not follow one another": "each is one more than the one before",
    r"Input should be a valid integer": "1.0, which is one to JSON Schema",
    r"in its normal form it has more than 2,000 characters": "a host in punycode, a slash at the end",
    r"(expected a web address|a URL with a user in it|what is behind #|leads to an address that is not public).*": "of "
    "another scheme, with parts that are not sent, or to where nothing may be sent",
    r"the same one is given twice": "after trimming, and uniqueItems compares before",
    r"tasks \d+ and \d+ \(from 0\) have the same id": "uniqueItems compares whole items",
}
"""What a body or parameter that fits its schema may still be refused for, and why the schema cannot say so."""
TAG_AS_WELL: Final = "/v1/tags/merge"
"""A tag may be called so, and be renamed and deleted; the OpenAPI tells that of `/v1/tags/{tag}`."""
ACCOUNT: Final = ("/v1/me", "/v1/auth/logout", "/v1/webhooks")

_PERSONAL: Final = "Bearer tend_"
_requests, _people = itertools.count(), itertools.count()
_not_sayable = re.compile("|".join(f"(?:{message})" for message in NOT_SAYABLE))

schemathesis.openapi.format("timezone", st.sampled_from(sorted(available_timezones())))
schemathesis.openapi.format("tend-filter", st.lists(st.sampled_from(TERMS), min_size=1, max_size=4).map(" ".join))


class Somebody:
    """Who asks what is about an account, and may end by it: then there is somebody else."""

    def __init__(self) -> None:
        self.token: str | None = None

    def bearer(self) -> str:
        self.token = self.token or self._signed_in()
        return f"Bearer {self.token}"

    def note(self, sent: str, status: int, challenge: str) -> None:
        """A 401 with an error is about the token, and others are about what the request is for (RFC 6750)."""
        if sent == f"Bearer {self.token}" and status == 401 and "error=" in challenge:
            self.token = None

    def _signed_in(self) -> str:
        number = next(_people)
        email, password = f"somebody{number}@example.com", "three words, and unusual ones"
        headers = {"X-Forwarded-For": f"10.255.{number >> 8}.{number & 255}"}
        with httpx.Client(base_url=os.environ["TEND_ATTACKED"], headers=headers, timeout=30) as http:
            user = {"email": email, "password": password, "name": "Somebody"}
            http.post("/v1/auth/register", json=user).raise_for_status()
            answer = http.post("/v1/auth/token", data={"username": email, "password": password})
            token: str = answer.raise_for_status().json()["access_token"]
        return token


somebody = Somebody()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """From many addresses, as if a proxy said so: the throttles would answer for nearly everything else.

    As many from each as let the tighter ones (of mail, and of what was mailed) answer now and then.
    """
    request = next(_requests)
    if request % 10 and _is_key(case.headers.get("Idempotency-Key", "")):
        # The same few keys for everything would have all else refused for that.
        case.headers["Idempotency-Key"] = f'"{uuid4()}"'
    number = request // REQUESTS_AN_ADDRESS
    case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 127}.{number >> 8 & 255}.{number & 255}"
    if case.path.startswith(ACCOUNT) and case.headers.get("Authorization", "").startswith(_PERSONAL):
        case.headers["Authorization"] = somebody.bearer()


def _is_key(written: str) -> bool:
    return len(written) <= MOST_CHARACTERS + 2 and re.fullmatch(PATTERN, written) is not None


@schemathesis.hook
def after_call(_context: Any, _case: Any, response: Any) -> None:
    sent = response.request.headers.get("Authorization", "")
    challenge = response.headers.get("www-authenticate", [""])[0]
    somebody.note(sent, response.status_code, challenge)


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """Nine in ten listings that fit their schemas would be refused for parameters that do not go together."""
    if case.operation.label == "GET /v1/tasks" and case.meta and case.meta.generation.mode.is_positive:
        lost = {"cursor"} if "page" in case.query else set()
        lost |= set() if "search" in case.query else {"highlight", "fuzzy"}
        for name in lost & case.query.keys():
            del case.query[name]
    return case


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one."""
    if isinstance(failure, AllowHeaderMismatch):
        return bool(case.path != TAG_AS_WELL)
    if isinstance(failure, AcceptedNegativeData):
        return not _is_long_by_spaces(failure, case)
    if not isinstance(failure, RejectedPositiveData):
        return True
    if response.status_code == 412:  # which version If-Match should name is the client's to know
        return False
    faults = response.json().get("errors", [])
    return not faults or not all(_is_not_sayable(fault) for fault in faults)


def _is_long_by_spaces(failure: Any, case: Any) -> bool:
    """Lengths count after trimming. A pattern could say so, and no form would know any more how long a text may be."""
    trimmed = any(text != text.strip() for text in _texts([dict(case.query or {}), case.body]))
    return trimmed and "violates `maxLength`" in failure.message


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _is_not_sayable(fault: dict[str, Any]) -> bool:
    """The words for an address are those of `email-validator`: RFC 5321 allows ones that no mail server has."""
    return fault["loc"] == ["body", "email"] or _not_sayable.fullmatch(fault["msg"]) is not None
