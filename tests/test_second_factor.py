"""Codes of an authenticator app beside the password: on, used once each, replaced by recovery codes, off."""

import asyncio
import re
import time
from typing import Any
from uuid import UUID

import httpx
import pyotp
import pytest
from sqlalchemy import select

from backend.models import RecoveryCode, SecondFactor, table
from backend.security.opaque import recovery_code
from backend.security.sealing import Seal
from backend.services import challenges, keys, second_factors
from backend.state import State
from tests.client import Client, Json
from tests.test_input import assert_problem

FACTORS, CODES = table(SecondFactor), table(RecoveryCode)
ADA = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}


class Clock:
    """The time that codes are made and read at; each code counts once, so a test moves on."""

    def __init__(self) -> None:
        self.now = float(int(time.time()) // 30 * 30 + 10)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(second_factors, "time", stopped)
    return stopped


@pytest.fixture
async def ada(http: httpx.AsyncClient, state: State) -> Client:
    assert (await http.post("/v1/auth/register", json=ADA)).status_code == 201
    pair = (await sign_in(http)).json()
    me = await http.get("/v1/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
    return Client(http, UUID(me.json()["id"]), pair["access_token"], ADA["email"])


async def sign_in(http: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await http.post("/v1/auth/token", data={"username": ADA["email"], "password": ADA["password"], **form})


async def with_code(http: httpx.AsyncClient, code: str) -> httpx.Response:
    challenge = assert_problem(await sign_in(http, device="Ada's phone"), 401)["challenge"]
    return await http.post("/v1/auth/second-factor", json={"challenge": challenge, "code": code})


class Turned:
    """What an app and a drawer hold."""

    def __init__(self, clock: Clock, secret: str, codes: list[str]) -> None:
        self.clock, self.codes, self._totp = clock, codes, pyotp.TOTP(secret)

    def code(self, seconds: int = 0) -> str:
        return self._totp.at(int(self.clock.now) + seconds)


@pytest.fixture
async def on(ada: Client, clock: Clock) -> Turned:
    begun = (await ada.post("/v1/me/second-factor")).json()
    turned = Turned(clock, begun["secret"], [])
    answer = await ada.post("/v1/me/second-factor/confirm", {"code": turned.code()})
    assert answer.status_code == 200, answer.text
    turned.codes = answer.json()["recovery_codes"]
    clock.now += 60
    return turned


async def test_it_counts_when_a_code_was_confirmed_and_not_before(
    ada: Client, http: httpx.AsyncClient, clock: Clock
) -> None:
    begun = await ada.post("/v1/me/second-factor")
    secret, uri = begun.json()["secret"], begun.json()["uri"]
    assert begun.status_code == 201
    assert uri.startswith("otpauth://totp/Tend:ada%40example.com?")
    assert f"secret={secret}" in uri
    assert (await sign_in(http)).status_code == 200
    assert_problem(await ada.post("/v1/me/second-factor/confirm", {"code": "000000"}), 403)

    answer = await ada.post("/v1/me/second-factor/confirm", {"code": pyotp.TOTP(secret).at(int(clock.now))})

    assert len(set(answer.json()["recovery_codes"])) == 10
    shown: Json = (await ada.get("/v1/me/second-factor")).json()
    assert (shown["is_on"], shown["recovery_codes_left"], shown["since"][-1]) == (True, 10, "Z")
    assert_problem(await ada.post("/v1/me/second-factor"), 409)
    assert_problem(await ada.post("/v1/me/second-factor/confirm", {"code": "000000"}), 409)


async def test_a_right_password_alone_signs_nobody_in(http: httpx.AsyncClient, on: Turned) -> None:
    asked, wrong = await sign_in(http), await sign_in(http, password="wrong")

    problem = assert_problem(asked, 401)
    assert "access_token" not in asked.text
    assert problem["challenge"]
    assert "challenge" not in assert_problem(wrong, 401)


async def test_with_a_code_one_is_signed_in_as_one_said(http: httpx.AsyncClient, on: Turned) -> None:
    answer = await with_code(http, on.code())
    client = Client(http, UUID(int=0), answer.json()["access_token"], "")

    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    (newest, *_) = (await client.get("/v1/me/sessions")).json()["items"]
    assert newest["device"] == "Ada's phone"


async def test_a_code_counts_once_and_so_does_the_one_before_it(http: httpx.AsyncClient, on: Turned) -> None:
    code, before = on.code(), on.code(-30)
    assert (await with_code(http, code)).status_code == 200

    assert_problem(await with_code(http, code), 401)
    assert_problem(await with_code(http, before), 401)
    assert (await with_code(http, on.code(30))).status_code == 200


async def test_of_many_with_the_same_code_at_once_one_is_signed_in(http: httpx.AsyncClient, on: Turned) -> None:
    challenge = (await sign_in(http)).json()["challenge"]
    body = {"challenge": challenge, "code": on.code()}

    answers = await asyncio.gather(*(http.post("/v1/auth/second-factor", json=body) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5


@pytest.mark.parametrize(("seconds", "status"), [(-60, 401), (-30, 200), (0, 200), (30, 200), (60, 401)])
async def test_a_clock_may_be_half_a_minute_wrong(
    http: httpx.AsyncClient, on: Turned, seconds: int, status: int
) -> None:
    on.clock.now += 300

    assert (await with_code(http, on.code(seconds))).status_code == status


async def test_the_code_that_turned_it_on_signs_nobody_in(http: httpx.AsyncClient, on: Turned) -> None:
    on.clock.now -= 60

    assert_problem(await with_code(http, on.code()), 401)


async def test_a_recovery_code_counts_once_however_it_is_typed(
    ada: Client, http: httpx.AsyncClient, on: Turned
) -> None:
    first, second, *_ = on.codes
    assert (await with_code(http, first)).status_code == 200
    assert_problem(await with_code(http, first), 401)
    assert (await with_code(http, f" {second.upper().replace('-', ' ')} ")).status_code == 200

    assert (await ada.get("/v1/me/second-factor")).json()["recovery_codes_left"] == 8


async def test_new_recovery_codes_take_the_place_of_the_old(ada: Client, http: httpx.AsyncClient, on: Turned) -> None:
    new = (await ada.post("/v1/me/second-factor/recovery-codes")).json()["recovery_codes"]

    assert_problem(await with_code(http, on.codes[0]), 401)
    assert (await with_code(http, new[0])).status_code == 200


async def test_turned_off_the_password_is_enough(ada: Client, http: httpx.AsyncClient, on: Turned) -> None:
    assert (await ada.delete("/v1/me/second-factor")).status_code == 204

    assert (await sign_in(http)).status_code == 200
    assert_problem(await ada.delete("/v1/me/second-factor"), 404)
    assert_problem(await ada.post("/v1/me/second-factor/recovery-codes"), 404)
    shown = (await ada.get("/v1/me/second-factor")).json()
    assert shown == {"is_on": False, "since": None, "recovery_codes_left": 0}


async def test_the_operator_turns_it_off_for_who_has_lost_everything(
    http: httpx.AsyncClient, on: Turned, state: State
) -> None:
    assert await second_factors.turn_off_for(state.database, ADA["email"].upper())

    assert (await sign_in(http)).status_code == 200
    assert not await second_factors.turn_off_for(state.database, ADA["email"])


async def test_ten_wrong_codes_are_enough(http: httpx.AsyncClient, on: Turned) -> None:
    challenge = (await sign_in(http)).json()["challenge"]
    for _ in range(10):
        body = {"challenge": challenge, "code": "000000"}
        assert_problem(await http.post("/v1/auth/second-factor", json=body), 401)

    assert_problem(await with_code(http, on.code()), 429)


async def test_a_challenge_is_good_for_five_minutes_and_cannot_be_made(
    http: httpx.AsyncClient, state: State, on: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge, now = (await sign_in(http)).json()["challenge"], time.time()
    wrong = ["", "x", challenge[:-2], state.seal.close("something else", b"[]")]
    for sent in wrong:
        body = {"challenge": sent, "code": on.code()}
        assert_problem(await http.post("/v1/auth/second-factor", json=body), 401)

    monkeypatch.setattr(time, "time", lambda: now + challenges.SECONDS + 2)
    body = {"challenge": challenge, "code": on.code()}
    assert_problem(await http.post("/v1/auth/second-factor", json=body), 401)


async def test_a_challenge_says_nothing(http: httpx.AsyncClient, ada: Client, on: Turned) -> None:
    problem = await sign_in(http)

    assert str(ada.user_id) not in problem.text
    assert "example.com" not in problem.text


async def test_neither_the_secret_nor_the_codes_are_stored_as_they_are(ada: Client, on: Turned, state: State) -> None:
    async with state.database.engine.connect() as connection:
        (factor,) = (await connection.execute(select(FACTORS))).all()
        codes: Any = (await connection.execute(select(CODES))).all()

    secret = state.seal.open(second_factors.PURPOSE, factor.secret).decode()
    assert secret not in factor.secret
    assert {len(code.digest) for code in codes} == {32}


async def test_one_s_own_codes_do_not_open_another_account(
    http: httpx.AsyncClient, ada: Client, on: Turned, bob: Client, clock: Clock
) -> None:
    begun = (await bob.post("/v1/me/second-factor")).json()
    theirs = pyotp.TOTP(begun["secret"])
    answer = await bob.post("/v1/me/second-factor/confirm", {"code": theirs.at(int(clock.now))})
    clock.now += 60

    assert_problem(await with_code(http, answer.json()["recovery_codes"][0]), 401)
    assert_problem(await with_code(http, theirs.at(int(clock.now))), 401)


async def test_its_secret_is_sealed_anew_with_the_others(http: httpx.AsyncClient, on: Turned, state: State) -> None:
    old, new = state.settings.secrets[0], b"the newer secret of thirty-two bytes"
    assert await keys.reseal(state.database, Seal(new, old)) == 1

    assert await keys.reseal(state.database, Seal(new)) == 1
    assert_problem(await with_code(http, on.code()), 503)  # this worker knows only the old one
    assert await keys.reseal(state.database, Seal(old, new)) == 1
    assert (await with_code(http, on.code())).status_code == 200


def test_a_recovery_code_has_120_bits() -> None:
    codes = [recovery_code() for _ in range(200)]

    assert len(set(codes)) == 200
    assert all(re.fullmatch(r"([a-km-np-z2-9]{6}-){3}[a-km-np-z2-9]{6}", code) for code in codes)
    assert all(len(set(code.split("-"))) == 4 for code in codes)
    assert len(set("".join(codes)) - {"-"}) == 32  # five bits a character, 24 of them
