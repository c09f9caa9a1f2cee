"""Signing in elsewhere, and what becomes of it here: accounts opened, linked, kept apart."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import httpx
import pyotp
import pytest

from backend.services import identities
from backend.state import State
from tests.client import Client, Json, fresh_account
from tests.conftest import settings_for, worker
from tests.provider import APP, BACK, CLIENT_ID, CLIENT_SECRET, TOKEN, Provider, agree
from tests.test_input import assert_problem

HERE = {"email": "lea@example.com", "email_verified": True, "name": "Lea"}


class Elsewhere(NamedTuple):
    """An application that one may sign in to with a provider, and that provider."""

    http: httpx.AsyncClient
    state: State
    there: Provider

    async def begin(self) -> tuple[Json, str]:
        """What was begun, and where to send the browser."""
        answer = await self.http.post("/v1/auth/outside/there", json={"redirect_uri": BACK})
        assert answer.status_code == 200, answer.text
        return {"flow": answer.json()["flow"]}, answer.json()["authorization_url"]

    async def come_back(self, **others: str) -> Json:
        """What a client sends whose user has agreed."""
        body, url = await self.begin()
        code = self.there.consent(url)
        return {**body, "code": code, "state": self.there.codes[code]["state"], **others}

    async def finish(self, **others: str) -> httpx.Response:
        return await self.http.post("/v1/auth/outside/there/finish", json=await self.come_back(**others))

    async def signed_in(self) -> Client:
        answer = await self.finish()
        assert answer.status_code == 200, answer.text
        return Client(self.http, UUID(int=0), answer.json()["access_token"], "")


@pytest.fixture
async def elsewhere(state: State, there: Provider, database_url: str, tmp_path: Path) -> AsyncIterator[Elsewhere]:
    there.claims = dict(HERE)
    client = {"issuer": there.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    settings = settings_for(database_url, tmp_path, oidc_providers={"there": client}, oidc_redirect_uris=[BACK, APP])
    async with worker(settings) as (app, http):
        yield Elsewhere(http, app.state.tend, there)


async def linked(client: Client) -> list[Json]:
    items: list[Json] = (await client.get("/v1/me/identities")).json()["items"]
    return items


@pytest.mark.long
async def test_with_a_real_provider_somebody_signs_in_from_end_to_end(
    state: State, packaged: str, database_url: str, tmp_path: Path
) -> None:
    provider = {"issuer": packaged, "client_id": "tend", "client_secret": "hunter2"}
    settings = settings_for(database_url, tmp_path, oidc_providers={"real": provider}, oidc_redirect_uris=[BACK])
    async with (
        worker(settings) as (_, http),
        httpx.AsyncClient(base_url=packaged) as there,
    ):
        user = {"email": "mia@example.com", "email_verified": True, "name": "Mia"}
        assert (await there.put("/users/mia", json=user)).status_code == 204
        assert (await http.get("/v1/auth/outside")).json() == {"items": ["real"]}
        begun = (await http.post("/v1/auth/outside/real", json={"redirect_uri": BACK})).json()
        came = await agree(begun["authorization_url"], "mia")
        body = {"flow": begun["flow"], "code": came["code"], "state": came["state"]}

        pair = await http.post("/v1/auth/outside/real/finish", json=body)
        again = await http.post("/v1/auth/outside/real/finish", json=body)

        mia = Client(http, UUID(int=0), pair.json()["access_token"], "")
        assert (await mia.get("/v1/me")).json()["email"] == "mia@example.com"
    assert_problem(again, 401)


async def test_the_first_time_opens_an_account_and_the_next_finds_it(elsewhere: Elsewhere) -> None:
    first = await elsewhere.signed_in()
    me = (await first.get("/v1/me")).json()
    await first.add("Figs")
    elsewhere.there.claims["email"] = "another@example.com"  # an address may change; the subject stays

    again = await elsewhere.signed_in()

    assert (me["email"], me["name"], me["is_verified"]) == ("lea@example.com", "Lea", True)
    assert (await again.get("/v1/me")).json() == me
    assert await again.titles() == ["Figs"]
    (one,) = await linked(again)
    assert (one["provider"], one["issuer"], one["email"]) == ("there", elsewhere.there.issuer, "lea@example.com")


async def test_of_many_first_times_at_once_there_is_one_account(elsewhere: Elsewhere) -> None:
    bodies = [await elsewhere.come_back() for _ in range(5)]

    answers = await asyncio.gather(
        *(elsewhere.http.post("/v1/auth/outside/there/finish", json=body) for body in bodies)
    )

    assert {answer.status_code for answer in answers} == {200}
    tokens = [Client(elsewhere.http, UUID(int=0), answer.json()["access_token"], "") for answer in answers]
    assert len({(await client.get("/v1/me")).json()["id"] for client in tokens}) == 1


async def test_nobody_is_let_in_by_an_address_alone(elsewhere: Elsewhere) -> None:
    eve = await fresh_account(elsewhere.http, elsewhere.state, "eve")
    elsewhere.there.claims |= {"email": "EVE@example.com"}

    problem = assert_problem(await elsewhere.finish(), 409)

    assert "link" in problem["detail"]
    assert await linked(eve) == []


@pytest.mark.parametrize(
    "claims", [{"email": None}, {"email_verified": False}, {"email_verified": None}, {"email": "no address"}]
)
async def test_an_address_that_the_provider_does_not_vouch_for_opens_no_account(
    elsewhere: Elsewhere, claims: Json
) -> None:
    elsewhere.there.claims |= claims

    assert_problem(await elsewhere.finish(), 403)


async def test_an_identity_is_linked_to_the_account_that_asks_and_then_signs_in_to_it(elsewhere: Elsewhere) -> None:
    eve = await fresh_account(elsewhere.http, elsewhere.state, "eve")

    answer = await eve.post("/v1/me/identities", await elsewhere.come_back(provider="there"))

    assert answer.status_code == 201, answer.text
    assert await linked(eve) == [answer.json()]
    assert (await (await elsewhere.signed_in()).get("/v1/me")).json()["email"] == "eve@example.com"
    assert_problem(await eve.post("/v1/me/identities", await elsewhere.come_back(provider="there")), 409)


async def test_an_identity_of_somebody_else_is_not_linked(elsewhere: Elsewhere) -> None:
    lea = await elsewhere.signed_in()
    eve = await fresh_account(elsewhere.http, elsewhere.state, "eve")

    assert_problem(await eve.post("/v1/me/identities", await elsewhere.come_back(provider="there")), 409)

    assert await linked(eve) == []
    (hers,) = await linked(lea)
    assert_problem(await eve.delete(f"/v1/me/identities/{hers['id']}"), 404)


async def test_the_only_way_to_sign_in_is_not_unlinked(elsewhere: Elsewhere) -> None:
    lea = await elsewhere.signed_in()
    (first,) = await linked(lea)
    assert_problem(await lea.delete(f"/v1/me/identities/{first['id']}"), 409)
    elsewhere.there.claims["sub"] = "another subject"
    second = (await lea.post("/v1/me/identities", await elsewhere.come_back(provider="there"))).json()

    assert (await lea.delete(f"/v1/me/identities/{first['id']}")).status_code == 204

    assert await linked(lea) == [second]
    assert_problem(await lea.delete(f"/v1/me/identities/{first['id']}"), 404)


async def test_of_two_who_unlink_the_last_two_at_once_one_is_left(elsewhere: Elsewhere) -> None:
    for turn in range(5):
        elsewhere.there.claims |= {"sub": f"first {turn}", "email": f"lea{turn}@example.com"}
        lea = await elsewhere.signed_in()
        elsewhere.there.claims["sub"] = f"second {turn}"
        await lea.post("/v1/me/identities", await elsewhere.come_back(provider="there"))

        gone = await asyncio.gather(*(lea.delete(f"/v1/me/identities/{one['id']}") for one in await linked(lea)))

        assert sorted(answer.status_code for answer in gone) == [204, 409]
        assert len(await linked(lea)) == 1


@pytest.mark.parametrize("wrong", [{"state": "x"}, {"flow": "x"}, {"state": ""}, {"code": "x"}, {"iss": "x"}])
async def test_what_does_not_fit_together_signs_nobody_in(elsewhere: Elsewhere, wrong: dict[str, str]) -> None:
    assert_problem(await elsewhere.finish(**wrong), 401)


async def test_a_flow_belongs_to_one_sign_in(elsewhere: Elsewhere) -> None:
    """Somebody else's code in one's own flow: the way to sign a victim in to the attacker's account."""
    mine, theirs = await elsewhere.come_back(), await elsewhere.come_back()

    mixed = {**mine, "code": theirs["code"]}
    for body in (mixed, {**mixed, "state": theirs["state"]}, {**theirs, "flow": mine["flow"]}):
        assert_problem(await elsewhere.http.post("/v1/auth/outside/there/finish", json=body), 401)
    assert (await elsewhere.http.post("/v1/auth/outside/there/finish", json=mine)).status_code == 200


async def test_a_flow_lasts_ten_minutes(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    body = await elsewhere.come_back()
    monkeypatch.setattr(identities, "FLOW_SECONDS", -1)

    assert_problem(await elsewhere.http.post("/v1/auth/outside/there/finish", json=body), 401)
    assert elsewhere.there.count(TOKEN) == 0


async def test_a_flow_says_nothing(elsewhere: Elsewhere) -> None:
    body, url = await elsewhere.begin()
    query = httpx.URL(url).params

    assert query["state"] not in body["flow"]
    assert query["nonce"] not in body["flow"]


async def test_a_second_factor_is_asked_for_here_as_well(elsewhere: Elsewhere) -> None:
    lea = await elsewhere.signed_in()
    totp, now = pyotp.TOTP((await lea.post("/v1/me/second-factor")).json()["secret"]), int(time.time())
    assert (await lea.post("/v1/me/second-factor/confirm", {"code": totp.at(now)})).status_code == 200

    challenge = assert_problem(await elsewhere.finish(device="Lea's phone"), 401)["challenge"]

    body = {"challenge": challenge, "code": totp.at(now + 30)}
    pair = await elsewhere.http.post("/v1/auth/second-factor", json=body)
    assert pair.status_code == 200
    back = Client(elsewhere.http, UUID(int=0), pair.json()["access_token"], "")
    newest = (await back.get("/v1/me/sessions")).json()["items"][0]
    assert newest["device"] == "Lea's phone"
    assert (await back.get("/v1/me/audit")).json()["items"][0]["detail"]["how"] == "there and code"


async def test_without_a_provider_there_is_none(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/auth/outside")).json() == {"items": []}
    assert_problem(await http.post("/v1/auth/outside/there", json={"redirect_uri": BACK}), 404)


async def test_an_address_that_is_not_configured_is_refused(elsewhere: Elsewhere) -> None:
    answer = await elsewhere.http.post("/v1/auth/outside/there", json={"redirect_uri": "https://evil.example"})

    assert assert_problem(answer, 422)["errors"][0]["loc"] == ["body", "redirect_uri"]


async def test_a_provider_that_is_away_is_503(elsewhere: Elsewhere) -> None:
    elsewhere.there.instead[TOKEN] = lambda here: here.say(500, {})

    answer = await elsewhere.finish()

    assert_problem(answer, 503)
    assert answer.headers["Retry-After"] == "10"
