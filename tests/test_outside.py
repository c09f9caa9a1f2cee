"""Signing in elsewhere: the way to a provider and back, and who somebody is there."""

import base64
import hashlib
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs

import pytest

from backend.errors import Invalid, NotFound, NotSignedIn
from backend.outside import Identity, Outside
from tests.provider import (
    APP,
    BACK,
    CLIENT_ID,
    TOKEN,
    USERINFO,
    Provider,
    settings_with,
    sign_in,
)

# The way there


async def test_the_address_of_the_provider_asks_for_a_code_with_a_challenge(outside: Outside, there: Provider) -> None:
    there.metadata = {"authorization_endpoint": f"{there.issuer}/authorize?tenant=a%20b"}

    begun = await outside.begin("there", APP)

    address, _, text = begun.authorization_url.partition("?")
    query = {name: values[0] for name, values in parse_qs(text, strict_parsing=True).items()}
    digest = hashlib.sha256(begun.code_verifier.encode()).digest()
    assert address == f"{there.issuer}/authorize"
    assert query == {
        "tenant": "a b",
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": APP,
        "scope": "openid email profile",
        "state": begun.state,
        "nonce": begun.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


async def test_nothing_of_a_beginning_comes_twice_or_is_printed(outside: Outside) -> None:
    begun = [await outside.begin("there", BACK) for _ in range(2)]
    kept = [each for one in begun for each in (one.state, one.nonce, one.code_verifier)]

    assert len(set(kept)) == 6
    assert all(len(each) >= 43 and each not in repr(begun) for each in kept)


async def test_only_what_is_configured_can_be_begun_and_finished(outside: Outside, there: Provider) -> None:
    assert outside.providers == ["there"]
    for redirect_uri in ("", BACK + "/", BACK.upper(), BACK + "?x=1", "http://localhost:3000", "https://example.com"):
        with pytest.raises(Invalid) as refused:
            await outside.begin("there", redirect_uri)
        assert refused.value.errors[0]["loc"] == ["body", "redirect_uri"]
        with pytest.raises(Invalid):
            await outside.finish("there", redirect_uri, "x", code_verifier="x", nonce="x")
    with pytest.raises(NotFound):
        await outside.begin("here", BACK)
    with pytest.raises(NotFound):
        await outside.finish("here", BACK, "x", code_verifier="x", nonce="x")
    assert there.asked == []


# The way back


async def test_who_comes_back_with_a_code_is_who_the_token_says(outside: Outside, there: Provider) -> None:
    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", "ada@example.com", True, "Ada")
    assert there.count(USERINFO) == 0


async def test_a_code_is_not_exchanged_without_its_verifier(outside: Outside, there: Provider) -> None:
    other = await outside.begin("there", BACK)

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there, code_verifier=other.code_verifier)


@pytest.mark.parametrize("code", ["", "a\0b", "ü", "\ud800", "x" * 2049, "a\nb"])
async def test_what_can_be_no_code_is_not_sent(outside: Outside, there: Provider, code: str) -> None:
    with pytest.raises(NotSignedIn):
        await outside.finish("there", BACK, code, code_verifier="x", nonce="x")

    assert there.count(TOKEN) == 0


async def test_an_answer_from_another_issuer_is_refused_before_its_code_is_sent(
    outside: Outside, there: Provider
) -> None:
    await sign_in(outside, there, iss=there.issuer)
    there.asked.clear()

    for iss in ("https://evil.example", there.issuer + "/", ""):
        with pytest.raises(NotSignedIn):
            await sign_in(outside, there, iss=iss)

    assert there.count(TOKEN) == 0


async def test_a_provider_that_says_that_it_names_itself_must_do_so(outside: Outside, there: Provider) -> None:
    there.metadata = {"authorization_response_iss_parameter_supported": True}

    with pytest.raises(NotSignedIn):
        await sign_in(outside, there)
    await sign_in(outside, there, iss=there.issuer)


@pytest.mark.parametrize("methods", [None, ["client_secret_basic", "client_secret_post"], ["client_secret_post"]])
async def test_a_client_shows_its_secret_as_the_provider_wants_it(
    outside: Outside, there: Provider, methods: list[str] | None
) -> None:
    there.metadata = {"token_endpoint_auth_methods_supported": methods}

    await sign_in(outside, there)

    sent = next(each for each in there.asked if each.path == TOKEN)
    assert ("authorization" in sent.headers, "client_secret" in sent.form) == (
        (False, True) if methods == ["client_secret_post"] else (True, False)
    )


async def test_a_public_client_has_no_secret_to_show(there: Provider) -> None:
    outside = Outside(settings_with(there.issuer, client_id="public", client_secret=None, scope="openid"))

    identity = await sign_in(outside, there)
    await outside.close()

    sent = next(each for each in there.asked if each.path == TOKEN)
    assert identity.subject == "24400320"
    assert "authorization" not in sent.headers


async def test_no_cookie_of_one_answer_goes_with_the_next_request(outside: Outside, there: Provider) -> None:
    await sign_in(outside, there)

    assert len(there.asked) == 3
    assert not any("cookie" in each.headers for each in there.asked)


# Name and address


@pytest.mark.parametrize(
    ("verified", "taken"),
    [(True, True), ("true", True), (False, False), ("false", False), (None, False), (1, False), ("True", False)],
)
async def test_an_address_is_verified_only_when_the_provider_says_so(
    outside: Outside, there: Provider, verified: Any, taken: bool
) -> None:
    there.claims = {"email_verified": verified}

    assert (await sign_in(outside, there)).email_verified is taken


async def test_what_the_token_leaves_out_is_asked_for(outside: Outside, there: Provider) -> None:
    there.claims = {"email": None, "email_verified": None, "name": None}
    there.userinfo |= {"email": "ada@example.org", "email_verified": True, "name": "Ada L."}

    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", "ada@example.org", True, "Ada L.")


async def test_no_address_is_verified_by_what_is_said_of_another(outside: Outside, there: Provider) -> None:
    there.claims = {"email_verified": None, "name": None}
    there.userinfo |= {"email": "other@example.org", "email_verified": True, "name": "Ada L."}
    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", "ada@example.com", False, "Ada L.")

    there.claims = {"email": None, "email_verified": True}
    there.userinfo["email_verified"] = False
    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", "other@example.org", False, "Ada")


async def test_what_is_told_of_somebody_else_is_refused(outside: Outside, there: Provider) -> None:
    there.claims = {"email": None}
    for subject in ("24400321", None, ["24400320"]):
        there.userinfo = {"sub": subject, "email": "other@example.org"}
        with pytest.raises(NotSignedIn):
            await sign_in(outside, there)


async def test_a_provider_need_not_tell_more_than_who_it_is(outside: Outside, there: Provider) -> None:
    there.claims = {"email": None, "name": None}
    there.metadata = {"userinfo_endpoint": None}

    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", None, False, None)


@pytest.mark.parametrize("text", [5, "", "  ", "a\0b", "\ud800", "x" * 256, ["ada@example.com"]])
async def test_a_name_or_address_that_is_no_text_is_none(outside: Outside, there: Provider, text: Any) -> None:
    there.claims = {"email": text, "name": text}

    assert await sign_in(outside, there) == Identity(there.issuer, "24400320", None, False, None)


# What it costs who does not use it


def test_nothing_is_imported_for_who_has_no_provider() -> None:
    program = """
import sys
from backend.config import Settings
from backend.outside import Outside
import backend.main

loaded = {"authlib", "joserfc", "httpx"} & set(sys.modules)
assert not loaded, loaded
outside = Outside(Settings(_env_file=None))
assert outside.providers == []
assert not {"authlib", "joserfc", "httpx"} & set(sys.modules)
client = {"issuer": "https://accounts.google.com", "client_id": "x"}
Outside(Settings(_env_file=None, oidc_providers={"google": client}, oidc_redirect_uris=["https://example.com/"]))
assert {"authlib", "joserfc", "httpx"} <= set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
