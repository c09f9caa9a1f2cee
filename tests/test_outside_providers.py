"""Providers: one from a package, what they say of themselves, and those that are away."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend import provider as provider_module
from backend.egress import authorities
from backend.errors import NotSignedIn, Unavailable
from backend.outside import Identity, Outside
from tests.provider import (
    APP,
    BACK,
    JWKS,
    METADATA,
    TOKEN,
    USERINFO,
    Answering,
    Json,
    Provider,
    agree,
    certificate_for_localhost,
    drips,
    hangs,
    hangs_up,
    providing,
    settings_with,
    sign_in,
)

pytestmark = pytest.mark.long

# A provider from a package


@pytest.fixture
async def at_packaged(packaged: str) -> AsyncIterator[Outside]:
    async with httpx.AsyncClient(base_url=packaged) as http:
        user = {"email": "ada@example.com", "email_verified": True, "name": "Ada"}
        assert (await http.put("/users/ada", json=user)).status_code == 204
    outside = Outside(settings_with(packaged))
    yield outside
    await outside.close()


async def test_who_agrees_at_a_provider_is_known_by_it(at_packaged: Outside, packaged: str) -> None:
    begun = await at_packaged.begin("there", BACK)
    back = await agree(begun.authorization_url, "ada")
    kept = {"code_verifier": begun.code_verifier, "nonce": begun.nonce}

    identity = await at_packaged.finish("there", BACK, back["code"], **kept)

    assert back["state"] == begun.state
    assert identity == Identity(packaged, "ada", "ada@example.com", True, "Ada")
    with pytest.raises(NotSignedIn):
        await at_packaged.finish("there", BACK, back["code"], **kept)


async def test_who_has_no_name_there_and_an_address_that_was_not_verified_is_known_all_the_same(
    at_packaged: Outside, packaged: str
) -> None:
    begun = await at_packaged.begin("there", BACK)
    back = await agree(begun.authorization_url, "bob@example.com")

    identity = await at_packaged.finish(
        "there", BACK, back["code"], code_verifier=begun.code_verifier, nonce=begun.nonce
    )

    assert identity == Identity(packaged, "bob@example.com", "bob@example.com", False, None)


@pytest.mark.parametrize("wrong", ["code", "nonce", "redirect_uri"])
async def test_what_does_not_belong_together_is_refused_with_a_packaged_provider(
    at_packaged: Outside, wrong: str
) -> None:
    begun, other = await at_packaged.begin("there", BACK), await at_packaged.begin("there", BACK)
    code = (await agree(begun.authorization_url, "ada"))["code"]

    with pytest.raises(NotSignedIn):
        await at_packaged.finish(
            "there",
            APP if wrong == "redirect_uri" else BACK,
            "x" if wrong == "code" else code,
            code_verifier=begun.code_verifier,
            nonce=other.nonce if wrong == "nonce" else begun.nonce,
        )


# What a provider says of itself


async def test_what_a_provider_says_of_itself_is_kept_for_an_hour(
    outside: Outside, there: Provider, clock: Callable[[float], None]
) -> None:
    await sign_in(outside, there)
    clock(3500)
    await sign_in(outside, there)
    assert (there.count(METADATA), there.count(JWKS)) == (1, 1)

    clock(200)
    await sign_in(outside, there)
    assert (there.count(METADATA), there.count(JWKS)) == (2, 2)


@pytest.mark.parametrize(
    "metadata",
    [
        *({"issuer": value} for value in ("https://evil.example", "", None, 5)),
        *({name: None} for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")),
        {"token_endpoint": 5},
        *({"id_token_signing_alg_values_supported": value} for value in (None, [], ["none", "HS256"], "RS256")),
    ],
    ids=str,
)
async def test_a_provider_that_says_something_wrong_of_itself_is_not_used(
    outside: Outside, there: Provider, metadata: Json
) -> None:
    there.metadata = metadata

    with pytest.raises(Unavailable):
        await outside.begin("there", BACK)


async def test_an_issuer_with_a_slash_more_is_another_one(there: Provider) -> None:
    outside = Outside(settings_with(there.issuer + "/"))

    with pytest.raises(Unavailable):
        await outside.begin("there", BACK)
    await outside.close()
    assert there.count(METADATA) == 1


async def test_a_provider_on_the_network_is_asked_over_tls_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, context = certificate_for_localhost(tmp_path)
    with providing(context) as there:
        unknown = Outside(settings_with(there.issuer))
        with pytest.raises(Unavailable):
            await unknown.begin("there", BACK)
        await unknown.close()
        assert there.asked == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setattr(provider_module, "authorities", authorities.__wrapped__)
        outside = Outside(settings_with(there.issuer))
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            there.metadata = {name: "http://localhost/x"}
            with pytest.raises(Unavailable):
                await outside.begin("there", BACK)
        there.metadata = {}
        assert (await sign_in(outside, there)).issuer == there.issuer
        await outside.close()


# A provider that is away


def redirects(here: Answering) -> None:
    here.say(302, {}, Location=f"{here.server.provider.issuer}{METADATA}")


BROKEN: dict[str, Callable[[Answering], None]] = {
    "hangs": hangs,
    "drips": drips,
    "500": lambda here: here.say(500, {"error": "server_error"}),
    "429": lambda here: here.say(429, {"error": "slow_down"}),
    "a page": lambda here: here.say(200, b"<html>"),
    "a page of an error": lambda here: here.say(400, b"<html>"),
    "nothing": lambda here: here.say(200, b""),
    "a list": lambda here: here.say(200, []),
    "an empty object": lambda here: here.say(200, {}),
    "very much": lambda here: here.say(200, b'{"x": "' + b"x" * 1_000_000 + b'"}'),
    "very deep": lambda here: here.say(200, b'{"x":' + b"[" * 200_000),
    "not UTF-8": lambda here: here.say(200, b'{"x": "\xff"}'),
    "redirects": redirects,
    "hangs up": hangs_up,
}


@pytest.mark.parametrize("path", [METADATA, TOKEN, JWKS, USERINFO])
@pytest.mark.parametrize("how", BROKEN)
async def test_a_provider_that_does_not_answer_as_it_should_is_unavailable(
    there: Provider, path: str, how: str
) -> None:
    outside = Outside(settings_with(there.issuer), timeout=0.3 if how in {"hangs", "drips"} else 10)
    there.claims = {"email": None}
    there.instead[path] = BROKEN[how]

    # An empty object from the userinfo endpoint is somebody else's.
    refused = NotSignedIn if (path, how) == (USERINFO, "an empty object") else Unavailable
    with pytest.raises(refused):
        await asyncio.wait_for(sign_in(outside, there), 8)

    there.instead.clear()
    assert (await sign_in(outside, there)).subject == "24400320"
    await outside.close()


async def test_what_was_packed_is_not_asked_for_and_not_unpacked(outside: Outside, there: Provider) -> None:
    packed = gzip.compress(json.dumps({"keys": there.published}).encode())
    there.instead[JWKS] = lambda here: here.say(200, packed, Content_Encoding="gzip")

    with pytest.raises(Unavailable):
        await sign_in(outside, there)

    assert {each.headers["accept-encoding"] for each in there.asked} == {"identity"}


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    with providing() as gone:
        pass
    outside = Outside(settings_with(gone.issuer))

    with pytest.raises(Unavailable) as away:
        await outside.begin("there", BACK)
    await outside.close()
    assert away.value.retry_after == 10


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_grant", NotSignedIn),
        (400, "invalid_request", NotSignedIn),
        (403, "access_denied", NotSignedIn),
        (401, "invalid_client", Unavailable),
        (400, "unauthorized_client", Unavailable),
        (400, 5, Unavailable),
        (503, "invalid_grant", Unavailable),
        (200, "invalid_grant", Unavailable),
    ],
)
async def test_what_somebody_did_wrong_is_told_from_what_the_settings_or_the_provider_do(
    outside: Outside, there: Provider, status: int, error: Any, kind: type[Exception]
) -> None:
    there.instead[TOKEN] = lambda here: here.say(status, {"error": error})

    with pytest.raises(kind):
        await sign_in(outside, there)


@pytest.mark.parametrize("given", [{"id_token": "x"}, {"access_token": "x"}, {"id_token": 5, "access_token": "x"}])
async def test_a_provider_that_leaves_out_a_token_is_unavailable(
    outside: Outside, there: Provider, given: Json
) -> None:
    there.instead[TOKEN] = lambda here: here.say(200, given)

    with pytest.raises(Unavailable):
        await sign_in(outside, there)


@pytest.mark.parametrize("token", ["ü", "a\nb", "\ud800"])
async def test_an_access_token_that_cannot_be_sent_is_the_providers_fault(
    outside: Outside, there: Provider, token: str
) -> None:
    there.access_token, there.claims = token, {"email": None}

    with pytest.raises(Unavailable):
        await sign_in(outside, there)
