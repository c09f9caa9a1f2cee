"""Access tokens that must not be believed."""

import time
from typing import Any
from uuid import uuid4

import pytest
from jose import jwt

from backend.security.tokens import InvalidToken, Keys

SECRET = b"a secret of thirty-two bytes or more"
KEYS = Keys([SECRET], lifetime=900)
USER, SESSION = uuid4(), uuid4()


def claims(**others: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {
        "iss": "tend",
        "aud": "tend",
        "sub": str(USER),
        "jti": "x",
        "iat": now,
        "exp": now + 900,
        "token_use": "access",
        "sid": str(SESSION),
        "tz": "UTC",
        "lang": "en",
        **others,
    }
    return {name: value for name, value in given.items() if value is not None}


def token(*, secret: bytes = SECRET, algorithm: str = "HS256", headers: Any = None, **others: Any) -> str:
    header = {"typ": "at+jwt", "kid": KEYS.accepted()[0].kid, **(headers or {})}
    return str(jwt.encode(claims(**others), secret.decode(), algorithm=algorithm, headers=header))


def test_a_token_of_ours_tells_who_and_for_how_long() -> None:
    read = KEYS.read(KEYS.access_token(USER, SESSION, "Europe/Berlin", "de"))

    assert (read.user_id, read.session_id, read.timezone, read.language) == (USER, SESSION, "Europe/Berlin", "de")
    assert 890 <= read.expires_at - time.time() <= 900
    assert KEYS.read(token()).user_id == USER


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "jti", "iat", "exp", "token_use", "sid", "tz", "lang"])
def test_a_token_without_one_of_its_claims_is_refused(missing: str) -> None:
    without: dict[str, Any] = {missing: None}

    with pytest.raises(InvalidToken):
        KEYS.read(token(**without))


@pytest.mark.parametrize(
    "others",
    [
        {"iss": "somebody"},
        {"aud": "something"},
        {"sub": "1"},
        {"sid": "1"},
        {"token_use": "refresh"},
        {"iat": "now"},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(others: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        KEYS.read(token(**others))


@pytest.mark.parametrize(
    "others",
    [
        {"iat": -900, "exp": -1},  # expired
        {"iat": 60, "exp": 120},  # issued in the future
        {"iat": 0, "exp": 100_000},  # lives too long
        {"iat": 10, "exp": 5},  # ends before it begins
        {"nbf": 1_000},  # not yet
    ],
)
def test_a_token_outside_its_time_is_refused(others: dict[str, int]) -> None:
    now = int(time.time())
    times: dict[str, Any] = {name: now + seconds for name, seconds in others.items()}

    with pytest.raises(InvalidToken):
        KEYS.read(token(**times))


@pytest.mark.parametrize(
    "headers",
    [{"typ": "JWT"}, {"typ": None}, {"kid": "other"}, {"kid": None}, {"crit": ["exp"]}, {"alg": "none"}],
)
def test_a_token_with_a_wrong_header_is_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        KEYS.read(token(headers=headers))


def test_a_token_signed_otherwise_is_refused() -> None:
    own = token()
    head, body, signature = own.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0"

    for wrong in (
        token(secret=b"another secret, as long as the first one"),
        token(algorithm="HS512"),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{signature}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body[::-1]}.{signature}",
        "",
        "x",
        "a.b.c",
        "🔑.🔑.🔑",
        own + "x" * 5_000,
    ):
        with pytest.raises(InvalidToken):
            KEYS.read(wrong)


def test_a_ring_with_another_key_does_not_believe_it() -> None:
    with pytest.raises(InvalidToken):
        Keys([b"another secret, as long as the first one"], 900).read(KEYS.access_token(USER, SESSION, "UTC", "en"))


def test_the_successor_of_a_refresh_token_is_one_and_cannot_be_made_without_the_secret() -> None:
    other = Keys([b"another secret, as long as the first one"], 900)

    assert KEYS.successor("a") == KEYS.successor("a")
    assert len({KEYS.successor("a"), KEYS.successor("b"), other.successor("a"), "a"}) == 4
    assert len(KEYS.successor("a")) == 43
