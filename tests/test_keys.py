"""The ring of signing keys, and the seal under which it is kept."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jose import jwt
from sqlalchemy import delete, text
from typer.testing import CliRunner

from backend.cli import app
from backend.config import Settings
from backend.models import SigningKey, table
from backend.security.opaque import kid_of
from backend.security.sealing import Broken, Seal
from backend.security.tokens import InvalidToken, Key, Keys, new_secret
from backend.services import keys
from backend.state import State
from tests.client import fresh_account
from tests.conftest import SECRET, settings_for, worker
from tests.test_input import assert_problem

PASSWORD = "nine lives of a grey cat"
ROOT = b"a secret of thirty-two bytes or more"
USER, SESSION = uuid4(), uuid4()
RING = table(SigningKey)


def token(ring: Keys) -> str:
    return ring.access_token(USER, SESSION, "UTC", "en")


def reads(ring: Keys, sent: str) -> bool:
    try:
        return ring.read(sent).user_id == USER
    except InvalidToken:
        return False


@pytest.fixture
async def ring(state: State) -> AsyncIterator[Keys]:
    """A worker's own, on an empty table."""
    yield Keys([SECRET.encode()], 900)
    async with state.database.engine.connect() as connection:
        await connection.execute(delete(RING))
    state.keys.put([])


async def test_a_new_key_is_read_by_all_before_it_signs_and_the_former_is_read_until_it_has_expired(
    state: State, ring: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = token(ring)
    assert await keys.rotate(state.database, state.seal, "HS256", 900)
    await keys.read(state.database, state.seal, ring)
    assert token(ring).split(".")[0] == old.split(".")[0]  # the former still signs
    assert len(ring.accepted()) == 2
    now = time.time()

    monkeypatch.setattr(time, "time", lambda: now + keys.PUBLISHED_SECONDS + 1)
    new = token(ring)
    assert new.split(".")[0] != old.split(".")[0]
    assert reads(ring, old)
    assert reads(ring, new)

    monkeypatch.setattr(time, "time", lambda: now + keys.PUBLISHED_SECONDS + 900 + 31)
    assert len(ring.accepted()) == 1


async def test_a_stolen_key_can_be_dropped_at_once(state: State, ring: Keys) -> None:
    stolen = token(ring)
    assert await keys.rotate(state.database, state.seal, "HS256", 900, at_once=True)
    await keys.read(state.database, state.seal, ring)

    assert not reads(ring, stolen)
    assert reads(ring, token(ring))


async def test_a_former_key_outlives_two_rotations_no_longer_than_its_tokens() -> None:
    now = time.time()
    first, second, third = (new_secret("HS256") for _ in range(3))
    ring = Keys([ROOT], 900)
    ring.put([Key(first, "HS256", now - 5_000, now - 4_000), Key(second, "HS256", now - 500, now + 400)])
    assert [key.kid for key in ring.accepted()] == [kid_of(first), kid_of(second)]

    ring.put(
        [
            Key(first, "HS256", now - 5_000, now - 4_000),
            Key(second, "HS256", 0, now + 400),
            Key(third, "HS256", now - 1, now - 1),
        ]
    )
    assert [key.kid for key in ring.accepted()] == [kid_of(third)]


async def test_of_two_rotations_at_once_one_wins(state: State, ring: Keys) -> None:
    async with state.database.engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            await connection.execute(text("LOCK TABLE signing_keys IN SHARE MODE"))
    assert await keys.rotate(state.database, state.seal, "HS256", 900)
    assert await keys.rotate(state.database, state.seal, "HS256", 900)
    assert [row.number for row in await keys.listed(state.database)] == [1, 2]


async def test_no_key_is_stored_as_it_is(state: State, ring: Keys) -> None:
    await keys.rotate(state.database, state.seal, "ES256", 900)
    async with state.database.engine.connect() as connection:
        (row,) = (await connection.execute(RING.select())).all()

    assert b"PRIVATE KEY" in state.seal.open(keys.PURPOSE, row.sealed)
    assert "PRIVATE" not in row.sealed
    assert b"PRIVATE" not in base64.urlsafe_b64decode(row.sealed)


async def test_workers_take_a_new_key_up_by_themselves(
    state: State, ring: Keys, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await fresh_account(http, state, "alice")
    assert (await alice.get("/v1/me")).status_code == 200
    await keys.rotate(state.database, state.seal, "HS256", 900, at_once=True)

    monkeypatch.setattr(time, "monotonic", lambda: state.ring_read_at + keys.FRESH_SECONDS + 1)
    fresh = await fresh_account(http, state, "bob")  # asks a route that reads the ring
    await http.get("/.well-known/jwks.json")

    again = await fresh_account(http, state, "carol")
    assert jwt.get_unverified_header(again.token)["kid"] != jwt.get_unverified_header(alice.token)["kid"]
    assert (await again.get("/v1/me")).status_code == 200
    assert_problem(await fresh.get("/v1/me"), 401)


async def sessions_of(state: State) -> int:
    async with state.database.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM sessions"))).scalar_one())


async def test_a_ring_that_the_secret_does_not_open_lets_nobody_begin_and_says_what_to_do(
    state: State,
    ring: Keys,
    http: httpx.AsyncClient,
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await http.post("/v1/auth/register", json={"email": "eve@example.com", "password": PASSWORD, "name": "Eve"})
    await keys.rotate(state.database, state.seal, "HS256", 900)
    form = {"username": "eve@example.com", "password": PASSWORD}
    before = await sessions_of(state)

    async with worker(settings_for(database_url, tmp_path, jwt_secret="another of thirty-two bytes or more")) as (
        there,
        other,
    ):
        for answer in (await other.get("/health/ready"), await other.post("/v1/auth/token", data=form)):
            assert "tend doctor" in assert_problem(answer, 503)["detail"]
        assert "JWT_SECRET_FORMER" in caplog.text
        assert await sessions_of(state) == before

        new: State = there.state.tend
        await keys.rotate(new.database, new.seal, "HS256", 900, at_once=True)
        new.ring_read_at -= keys.FRESH_SECONDS + 1
        assert (await other.get("/health/ready")).status_code == 200
        assert (await other.post("/v1/auth/token", data=form)).status_code == 200


async def test_es256_makes_its_first_key_and_shows_the_public_half_alone(
    state: State, ring: Keys, database_url: str, tmp_path: Path
) -> None:
    async with worker(settings_for(database_url, tmp_path, token_algorithm="ES256")) as (there, http):
        many = await asyncio.gather(*(http.get("/.well-known/jwks.json") for _ in range(5)))
        assert {len(each.json()["keys"]) for each in many} == {1}  # nobody goes on before it was read
        answer = many[0]
        dora = await fresh_account(http, there.state.tend, "dora")

        assert (await dora.get("/v1/me")).status_code == 200
        assert_problem(await http.get("/v1/me", headers={"Authorization": f"Bearer {token(ring)}"}), 401)
    (shown,) = answer.json()["keys"]
    assert set(shown) == {"kty", "crv", "x", "y", "alg", "use", "kid"}
    assert (shown["kty"], shown["crv"], shown["alg"], shown["use"]) == ("EC", "P-256", "ES256", "sig")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    header = jwt.get_unverified_header(dora.token)
    assert (header["alg"], header["kid"]) == ("ES256", shown["kid"])
    assert jwt.decode(dora.token, shown, algorithms=["ES256"], audience="tend")["sub"] == str(dora.user_id)


async def test_with_hs256_no_key_is_shown(http: httpx.AsyncClient) -> None:
    assert (await http.get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_a_token_of_the_other_family_is_refused_though_its_key_is_known() -> None:
    pem = new_secret("ES256")
    ring = Keys([ROOT], 900, "ES256")
    ring.put([Key(pem, "ES256")])
    kid, public = kid_of(pem), ring.accepted()[0].public()
    sound = token(ring)
    claims = jwt.get_unverified_claims(sound)
    assert reads(ring, sound)

    # The public key as the secret of an HMAC: the classic confusion.
    for secret in (ROOT.decode(), json.dumps(public), public["x"]):
        forged = jwt.encode(claims, secret, algorithm="HS256", headers={"typ": "at+jwt", "kid": kid})
        assert not reads(ring, forged)
        header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": kid}).encode())
        assert not reads(ring, ".".join([header.decode().rstrip("="), *forged.split(".")[1:]]))
    assert not reads(Keys([ROOT], 900), sound)
    assert not reads(ring, token(Keys([ROOT], 900)))


async def test_a_former_secret_reads_and_opens_while_it_is_replaced() -> None:
    new, old = b"the newer secret of thirty-two bytes", ROOT
    before, during, after = Keys([old], 900), Keys([new, old], 900), Keys([new], 900)

    assert reads(during, token(before))
    assert reads(after, token(during))
    assert not reads(after, token(before))
    sealed = Seal(old).close("x", b"content")
    assert Seal(new, old).open("x", sealed) == b"content"
    with pytest.raises(Broken):
        Seal(new).open("x", sealed)
    assert Seal(new).open("x", Seal(new, old).again(sealed)) == b"content"


@pytest.mark.parametrize("broken", ["", "x", "🔑", "gAAAA", "half", "turned"])
def test_what_was_not_sealed_here_is_not_opened(broken: str) -> None:
    seal = Seal(ROOT)
    sealed = seal.close("x", b"content")
    sent = {
        "half": sealed[: len(sealed) // 2],
        "turned": sealed[:30] + ("A" if sealed[30] != "A" else "B") + sealed[31:],
    }

    with pytest.raises(Broken):
        seal.open("x", sent.get(broken, broken))


def test_a_seal_is_for_one_purpose_and_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    seal, now = Seal(ROOT), time.time()
    sealed = seal.close("one", b"con\0tent")

    assert seal.open("one", sealed, seconds=60) == b"con\0tent"
    with pytest.raises(Broken):
        seal.open("two", sealed)
    monkeypatch.setattr(time, "time", lambda: now + 62)
    with pytest.raises(Broken):
        seal.open("one", sealed, seconds=60)


def test_the_operator_s_commands_turn_the_ring_and_seal_it_anew(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, new = "the older secret of thirty-two bytes", "the newer secret of thirty-two bytes"
    monkeypatch.chdir(tmp_path)

    def tend(*arguments: str, **environment: str) -> tuple[int, str]:
        set_here = {"DATABASE_URL": empty_database, "DATA_DIR": str(tmp_path), "COLUMNS": "200", **environment}
        done = CliRunner().invoke(app, arguments, env=set_here)
        return done.exit_code, done.output

    assert "The ring is empty" in tend("keys", "list", JWT_SECRET=old)[1]
    assert tend("keys", "rotate", JWT_SECRET=old) == (0, "A new key signs in two minutes.\n")
    assert "HS256" in tend("keys", "list", JWT_SECRET=old)[1]
    assert tend("keys", "reseal", JWT_SECRET=new)[0] == 1
    assert "1 sealed anew" in tend("keys", "reseal", JWT_SECRET=new, JWT_SECRET_FORMER=old)[1]
    assert "1 sealed anew" in tend("keys", "reseal", JWT_SECRET=new)[1]
    code, said = tend("account", "disable", "nobody@example.com", JWT_SECRET=new)
    assert (code, said.strip()) == (1, "No account has the address nobody@example.com.")
    assert tend("account", "second-factor-off", "nobody@example.com", JWT_SECRET=new)[0] == 1
    assert tend("clean", JWT_SECRET=new) == (0, "Clean.\n")


def test_settings_need_no_secret_to_be_shown(settings: Settings) -> None:
    shown: Any = repr(settings)

    assert SECRET not in shown
