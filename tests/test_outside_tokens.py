"""A provider's ID tokens and keys: what is taken, and everything that is refused."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from backend.errors import NotSignedIn, Unavailable
from backend.outside import Outside
from tests.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    EC_KEY,
    JWKS,
    KEY,
    METADATA,
    OTHER_KEY,
    TOKEN,
    Json,
    Provider,
    sign_in,
)

pytestmark = pytest.mark.long

# The ID token


def half_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"claims": {"aud": [CLIENT_ID]}},
        {"claims": {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID}},
        {"claims": {"azp": CLIENT_ID}},
        {"claims": {"at_hash": half_hash("hunter2-access")}},
        {"claims": {"iat": timedelta(seconds=20)}},  # a clock that is ahead
        {"claims": {"exp": timedelta(seconds=-10)}},
        {"header": {"kid": None}},
        {"header": {"kid": "first", "x-of-its-own": 1}},
        {"alg": "PS256"},
        {"alg": "ES256", "header": {"kid": "third"}},
    ],
    ids=str,
)
async def test_a_token_that_is_right_in_another_way_is_taken(
    outside: Outside, there: Provider, changed: dict[str, Any]
) -> None:
    if changed.get("alg") == "ES256":
        there.key = EC_KEY
        there.published = [OTHER_KEY.as_dict(private=False), EC_KEY.as_dict(private=False)]
    for name, value in changed.items():
        setattr(there, name, value)

    assert (await sign_in(outside, there)).subject == "24400320"


@pytest.mark.parametrize(
    "claims",
    [
        *({name: None} for name in ("iss", "sub", "aud", "exp", "iat", "nonce")),
        *({"iss": value} for value in ("https://evil.example", "http://LOCALHOST", ["x"], "")),
        *({"sub": value} for value in ("", "x" * 256, 5, ["x"], "a\0b", "\ud800", "ü")),
        *({"aud": value} for value in ("other", ["other"], [], "", [CLIENT_ID, 5], 5, "tend other", "tend2")),
        {"aud": [CLIENT_ID, "other"]},
        {"aud": [CLIENT_ID, "other"], "azp": "other"},
        {"azp": "other"},
        *({"exp": value} for value in (timedelta(minutes=-5), "soon", True, float("nan"), 0)),
        *({"iat": value} for value in (timedelta(minutes=5), timedelta(hours=-1), "now", True, float("inf"), 0)),
        {"nbf": timedelta(minutes=5)},
        *({"nonce": value} for value in ("other", "", ["other"], 5)),
        *({"at_hash": value} for value in (half_hash("another token"), "x", 5, ["x"])),
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_refused(outside: Outside, there: Provider, claims: Json) -> None:
    there.claims = claims

    with pytest.raises(NotSignedIn) as refused:
        await sign_in(outside, there)

    assert refused.value.detail == "The sign-in could not be confirmed. Begin it again."


async def test_an_empty_nonce_confirms_nothing(outside: Outside, there: Provider) -> None:
    for claimed in ("", None, "x"):
        there.claims = {"nonce": claimed}
        with pytest.raises(NotSignedIn):
            await sign_in(outside, there, nonce="")


async def test_a_nonce_among_several_confirms_nothing(outside: Outside, there: Provider) -> None:
    there.forged = lambda claims: there.signed({**claims, "nonce": [claims["nonce"], "other"]})

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)


def compact(header: Json, claims: Json, sign: Callable[[bytes], bytes]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


def with_secret(secret: bytes, **header: str) -> Callable[[Json], str]:
    def forge(claims: Json) -> str:
        return compact({"alg": "HS256", **header}, claims, lambda text: hmac.digest(secret, text, "sha256"))

    return forge


def with_own_key(claims: Json) -> str:
    """The key that the header brings along."""
    header = {"alg": "RS256", "kid": "first", "jwk": OTHER_KEY.as_dict(private=False)}
    return jwt.encode(header, claims, OTHER_KEY)


FORGED: dict[str, Callable[[Json], str]] = {
    "none": lambda claims: compact({"alg": "none"}, claims, lambda _: b""),
    "none with the kid": lambda claims: compact({"alg": "none", "kid": "first"}, claims, lambda _: b""),
    "None": lambda claims: compact({"alg": "None", "kid": "first"}, claims, lambda _: b""),
    "the client's secret": with_secret(CLIENT_SECRET.encode()),
    "the public key as a secret": with_secret(KEY.as_pem(private=False), kid="first"),
    "a published secret": with_secret(b"x" * 32, kid="secret"),
    "its own key": with_own_key,
    "no signature": lambda claims: compact({"alg": "RS256", "kid": "first"}, claims, lambda _: b""),
    "a critical header": lambda claims: compact(
        {"alg": "RS256", "kid": "first", "crit": ["x"], "x": 1}, claims, lambda _: b""
    ),
    "no token": lambda _: "hunter2",
    "empty": lambda _: "",
    "not ASCII": lambda _: "ü.ü.ü",
    "a header that is a list": lambda claims: compact([], claims, lambda _: b""),  # type: ignore[arg-type]
    "no algorithm": lambda claims: compact({}, claims, lambda _: b""),
    "an algorithm that is none": lambda claims: compact({"alg": ["RS256"]}, claims, lambda _: b""),
    "very deep": lambda _: base64.urlsafe_b64encode(b'{"alg":' + b"[" * 300).decode() + ".x.x",
    "very long": lambda claims: compact(
        {"alg": "RS256", "kid": "first"}, {**claims, "x": "x" * 150_000}, lambda _: b""
    ),
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_token_that_the_provider_did_not_sign_with_its_key_is_refused(
    outside: Outside, there: Provider, how: str
) -> None:
    there.published.append(OctKey.import_key(b"x" * 32, {"kid": "secret"}).as_dict(private=True))
    there.forged = FORGED[how]

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)


@pytest.mark.parametrize("kid", ["first", "second", None])
async def test_a_token_signed_with_another_key_is_refused(outside: Outside, there: Provider, kid: str | None) -> None:
    there.key, there.header = OTHER_KEY, {"kid": kid}

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)


async def test_an_algorithm_that_the_provider_does_not_name_is_refused(outside: Outside, there: Provider) -> None:
    there.metadata, there.alg = {"id_token_signing_alg_values_supported": ["RS256"]}, "PS256"

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)


async def test_a_key_that_is_for_something_else_signs_nothing(outside: Outside, there: Provider) -> None:
    for other in ({"use": "enc"}, {"alg": "RS512"}):
        there.published = [{**KEY.as_dict(private=False), **other}]
        with pytest.raises(NotSignedIn):
            await sign_in(outside, there)


async def test_neither_an_answer_nor_the_log_tells_a_secret(
    outside: Outside, there: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    there.claims = {"aud": "hunter2"}
    with pytest.raises(NotSignedIn) as refused:
        await sign_in(outside, there)
    with pytest.raises(NotSignedIn):
        await sign_in(outside, there, code_verifier="hunter2")
    there.instead[TOKEN] = lambda here: here.say(401, {"error": "invalid_client", "error_description": "hunter2"})
    with pytest.raises(Unavailable) as away:
        await sign_in(outside, there)

    assert len([each for each in caplog.records if each.name == "tend.provider"]) == 3
    assert "'aud'" in caplog.text
    assert "'invalid_grant'" in caplog.text
    assert "'invalid_client'" in caplog.text
    for text in (caplog.text, str(refused.value), str(away.value)):
        assert "hunter2" not in text
        assert "eyJ" not in text


# Keys that change


async def test_a_new_key_is_looked_for_when_a_token_names_it(
    outside: Outside, there: Provider, clock: Callable[[float], None]
) -> None:
    await sign_in(outside, there)
    clock(61)
    there.published, there.key, there.header = [OTHER_KEY.as_dict(private=False)], OTHER_KEY, {"kid": "second"}

    await asyncio.gather(*(sign_in(outside, there) for _ in range(4)))

    assert (there.count(JWKS), there.count(METADATA)) == (2, 1)
    there.key, there.header = KEY, {"kid": "first"}
    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)


async def test_a_new_key_is_found_where_keys_have_no_names(
    outside: Outside, there: Provider, clock: Callable[[float], None]
) -> None:
    there.header = {"kid": None}
    there.published[0].pop("kid")
    await sign_in(outside, there)
    clock(61)
    there.published, there.key = [OTHER_KEY.as_dict(private=False)], OTHER_KEY

    await sign_in(outside, there)


async def test_unknown_keys_are_looked_for_once_a_minute(
    outside: Outside, there: Provider, clock: Callable[[float], None]
) -> None:
    await sign_in(outside, there)
    there.header = {"kid": "nobody's"}

    for looks in (1, 2, 3):
        for _ in range(3):
            with pytest.raises(NotSignedIn):
                await sign_in(outside, there)
        assert there.count(JWKS) == looks
        clock(61)


async def test_keys_that_are_not_understood_are_passed_over(outside: Outside, there: Provider) -> None:
    strange: list[Any] = [
        {"kty": "post-quantum"},
        {"kty": "EC", "crv": "P-0", "x": "x", "y": "y"},
        {"kty": "RSA"},
        {},
        5,
    ]
    there.published = [*strange, *there.published]

    await sign_in(outside, there)


@pytest.mark.parametrize("keys", [{"keys": []}, {"keys": 5}, {"keys": [5]}, {}])
async def test_a_provider_without_keys_cannot_be_used(outside: Outside, there: Provider, keys: Json) -> None:
    there.instead[JWKS] = lambda here: here.say(200, keys)

    with pytest.raises(Unavailable):
        await sign_in(outside, there)
