"""What is done by mail: an address verified, another one taken, a new password chosen. Over a real SMTP server."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx
import pyotp
import pytest
from sqlalchemy import insert, select, update

from backend.models import Confirmation, OutsideIdentity, table
from backend.services import throttles
from backend.state import State
from tests.client import Client, Statements, another_session, fresh_account
from tests.conftest import settings_for, worker
from tests.mail_server import HOST, MailServer, running
from tests.test_access_tokens import made
from tests.test_input import assert_problem

CONFIRMATIONS = table(Confirmation)
ADA = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
NEW = "a staple is not a horse"


class Mailing(NamedTuple):
    """An application that sends mail, and the server that takes it."""

    http: httpx.AsyncClient
    state: State
    smtp: MailServer

    async def mails(self) -> list[tuple[str, str]]:
        """Recipient and text of all that was sent."""
        await self.state.later.settled()
        await self.state.mailer.settled()
        texts = [mail.get_body(("plain",)) for mail in self.smtp.mails]
        return [(e.rcpt_tos[0], t.get_content()) for e, t in zip(self.smtp.envelopes, texts, strict=True) if t]

    async def token(self) -> str:
        """The newest that was mailed."""
        found = [token for _, text in await self.mails() for token in re.findall(r"#token=(\S+)", text)]
        return str(found[-1])

    async def ask(self, what: str, email: str = ADA["email"]) -> httpx.Response:
        return await self.http.post(f"/v1/auth/{what}", json={"email": email})

    async def confirm(self, what: str, token: str, **others: str) -> httpx.Response:
        return await self.http.post(f"/v1/auth/{what}/confirm", json={"token": token, **others})

    async def sign_in(self, password: str, email: str = ADA["email"]) -> httpx.Response:
        return await self.http.post("/v1/auth/token", data={"username": email, "password": password})


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with running() as server:
        yield server


@pytest.fixture
async def mailing(state: State, smtp: MailServer, database_url: str, tmp_path: Path) -> AsyncIterator[Mailing]:
    settings = settings_for(
        database_url,
        tmp_path,
        smtp_url=f"smtp://{HOST}:{smtp.port}",
        mail_from="Tend <tend@example.com>",
        app_url="https://app.example.com",
    )
    async with worker(settings) as (app, http):
        yield Mailing(http, app.state.tend, smtp)


@pytest.fixture
async def ada(mailing: Mailing) -> Client:
    """Registered, signed in, not verified."""
    assert (await mailing.http.post("/v1/auth/register", json=ADA)).status_code == 201
    pair = (await mailing.sign_in(ADA["password"])).json()
    me = await mailing.http.get("/v1/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
    return Client(mailing.http, me.json()["id"], pair["access_token"], ADA["email"])


async def age(mailing: Mailing, minutes: int) -> None:
    async with mailing.state.database.engine.connect() as connection:
        earlier = CONFIRMATIONS.c.expires_at - timedelta(minutes=minutes)
        await connection.execute(update(CONFIRMATIONS).values(expires_at=earlier))


async def test_who_registers_gets_a_link_that_verifies_the_address_once(mailing: Mailing, ada: Client) -> None:
    ((to, text),) = await mailing.mails()
    assert to == ADA["email"]
    assert "https://app.example.com/verify-email#token=" in text
    token = await mailing.token()
    assert not (await ada.get("/v1/me")).json()["is_verified"]

    assert (await mailing.confirm("verify-email", token)).status_code == 204

    assert (await ada.get("/v1/me")).json()["is_verified"]
    problem = assert_problem(await mailing.confirm("verify-email", token), 422)
    assert problem["errors"][0]["loc"] == ["body", "token"]


async def test_a_newer_link_takes_the_place_of_the_one_before(mailing: Mailing, ada: Client) -> None:
    first = await mailing.token()
    assert (await mailing.ask("verify-email", "ADA@example.com")).status_code == 202

    second = await mailing.token()

    assert second != first
    assert_problem(await mailing.confirm("verify-email", first), 422)
    assert (await mailing.confirm("verify-email", second)).status_code == 204


async def test_a_verified_address_and_one_without_an_account_get_no_mail_and_the_same_answer(
    mailing: Mailing, ada: Client
) -> None:
    await mailing.confirm("verify-email", await mailing.token())

    answers = [
        await mailing.ask(what, email)
        for what, email in (
            ("verify-email", ADA["email"]),
            ("verify-email", "nobody@example.com"),
            ("password-reset", "nobody@example.com"),
            ("password-reset", "no address at all"),
        )
    ]

    assert {(answer.status_code, answer.text) for answer in answers} == {(202, "")}
    assert len({tuple(answer.headers) for answer in answers}) == 1
    assert len(await mailing.mails()) == 1


async def test_what_is_asked_for_waits_for_nothing_that_tells_whether_there_is_an_account(
    mailing: Mailing, ada: Client
) -> None:
    """The statements before the answer are the same; the rest comes after it."""
    counts = []
    for email in (ADA["email"], "nobody@example.com"):
        await mailing.mails()
        counted = Statements()
        mailing.state.database.watchers.append(counted.note)
        await mailing.ask("password-reset", email)
        mailing.state.database.watchers.remove(counted.note)
        counts.append([statement[:40] for statement in counted])

    assert counts[0] == counts[1]
    assert len(counts[0]) == 2  # the two limits


async def test_a_new_password_puts_everybody_out_who_had_got_in(mailing: Mailing, ada: Client) -> None:
    script, _ = await made(ada, "tasks:read")
    assert (await script.get("/v1/tasks")).status_code == 200
    pair = (await mailing.sign_in(ADA["password"])).json()
    assert (await mailing.ask("password-reset")).status_code == 202
    token = await mailing.token()

    assert (await mailing.confirm("password-reset", token, new_password=NEW)).status_code == 204

    assert_problem(await mailing.sign_in(ADA["password"]), 401)
    assert (await mailing.sign_in(NEW)).status_code == 200
    assert_problem(await mailing.http.post("/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]}), 401)
    mailing.http._transport.app.state.recognition.forget_all()  # type: ignore[attr-defined]  # 10 seconds later
    assert_problem(await ada.get("/v1/me"), 401)
    assert_problem(await script.get("/v1/tasks"), 401)
    assert_problem(await mailing.confirm("password-reset", token, new_password=NEW), 422)
    to, notice = (await mailing.mails())[-1]
    assert (to, "password" in notice) == (ADA["email"], True)


async def test_a_new_password_is_no_way_around_the_second_factor(mailing: Mailing, ada: Client) -> None:
    await mailing.confirm("verify-email", await mailing.token())
    totp = pyotp.TOTP((await ada.post("/v1/me/second-factor")).json()["secret"])
    assert (await ada.post("/v1/me/second-factor/confirm", {"code": totp.now()})).status_code == 200
    await mailing.ask("password-reset")
    assert (await mailing.confirm("password-reset", await mailing.token(), new_password=NEW)).status_code == 204

    assert assert_problem(await mailing.sign_in(NEW), 401)["challenge"]


async def test_a_thief_s_wish_for_another_address_ends_with_a_new_password(mailing: Mailing, ada: Client) -> None:
    for by_mail in (True, False):
        pair = await mailing.sign_in(ADA["password"] if by_mail else NEW)
        thief = Client(mailing.http, ada.user_id, pair.json()["access_token"], "")
        assert (await thief.post("/v1/me/email", {"email": f"thief{by_mail}@example.org"})).status_code == 202
        token = await mailing.token()
        if by_mail:
            await mailing.ask("password-reset")
            confirmed = await mailing.confirm("password-reset", await mailing.token(), new_password=NEW)
            assert confirmed.status_code == 204
        else:
            owner = Client(mailing.http, ada.user_id, (await mailing.sign_in(NEW)).json()["access_token"], "")
            body = {"current_password": NEW, "new_password": NEW + "!"}
            assert (await owner.post("/v1/me/password", body)).status_code == 204

        assert_problem(await mailing.confirm("verify-email", token), 422)


async def test_what_was_mailed_to_the_former_address_resets_nothing(mailing: Mailing, ada: Client) -> None:
    await mailing.ask("password-reset")
    old = await mailing.token()
    await ada.post("/v1/me/email", {"email": "ada@example.org"})
    assert (await mailing.confirm("verify-email", await mailing.token())).status_code == 204

    assert_problem(await mailing.confirm("password-reset", old, new_password=NEW), 422)


async def test_who_registered_somebody_else_s_address_is_out_when_its_owner_resets_the_password(
    mailing: Mailing, ada: Client
) -> None:
    """The address was never verified: a second factor on it is not its owner's."""
    totp = pyotp.TOTP((await ada.post("/v1/me/second-factor")).json()["secret"])
    assert (await ada.post("/v1/me/second-factor/confirm", {"code": totp.now()})).status_code == 200
    async with mailing.state.database.engine.connect() as connection:
        identity = {"issuer": "https://there.example", "subject": "thief", "provider": "there", "id": uuid4()}
        await connection.execute(insert(table(OutsideIdentity)).values(**identity, user_id=ada.user_id))
    await mailing.ask("password-reset")
    assert (await mailing.confirm("password-reset", await mailing.token(), new_password=NEW)).status_code == 204

    pair = await mailing.sign_in(NEW)

    assert pair.status_code == 200
    owner = Client(mailing.http, ada.user_id, pair.json()["access_token"], "")
    assert (await owner.get("/v1/me/identities")).json() == {"items": []}
    assert not (await owner.get("/v1/me/second-factor")).json()["is_on"]


async def test_a_challenge_of_the_old_password_is_no_more(mailing: Mailing, ada: Client) -> None:
    await mailing.confirm("verify-email", await mailing.token())
    totp = pyotp.TOTP((await ada.post("/v1/me/second-factor")).json()["secret"])
    codes = (await ada.post("/v1/me/second-factor/confirm", {"code": totp.now()})).json()["recovery_codes"]
    challenge = (await mailing.sign_in(ADA["password"])).json()["challenge"]
    await mailing.ask("password-reset")
    assert (await mailing.confirm("password-reset", await mailing.token(), new_password=NEW)).status_code == 204

    body = {"challenge": challenge, "code": codes[0]}
    assert_problem(await mailing.http.post("/v1/auth/second-factor", json=body), 401)


async def test_a_stranger_does_not_end_a_wish_for_another_address(mailing: Mailing, ada: Client) -> None:
    await ada.post("/v1/me/email", {"email": "ada@example.org"})
    token = await mailing.token()

    await mailing.ask("verify-email")
    await mailing.mails()

    assert (await mailing.confirm("verify-email", token)).status_code == 204
    assert (await ada.get("/v1/me")).json()["email"] == "ada@example.org"


async def test_of_many_who_ask_at_once_one_token_is_good(mailing: Mailing, ada: Client) -> None:
    await asyncio.gather(*(mailing.ask("password-reset") for _ in range(5)))
    tokens = [found[1] for _, text in await mailing.mails() if (found := re.search(r"password#token=(\S+)", text))]

    answers = [await mailing.confirm("password-reset", token, new_password=NEW) for token in tokens]

    assert len(tokens) == 5
    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 4


async def test_nobody_is_sent_more_than_twenty_mails_an_hour(
    mailing: Mailing, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttles, "MAIL", throttles.Limit("mail", 1_000, 3_600))
    monkeypatch.setattr(throttles, "MAIL_ADDRESS", throttles.Limit("mail-address", 1_000, 3_600))
    for _ in range(25):
        assert (await mailing.ask("password-reset")).status_code == 202

    assert len(await mailing.mails()) == 20


async def test_of_many_who_bring_a_token_back_at_once_one_wins(mailing: Mailing, ada: Client) -> None:
    await mailing.ask("password-reset")
    token = await mailing.token()

    answers = await asyncio.gather(
        *(mailing.confirm("password-reset", token, new_password=f"{NEW} {n}") for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 5


@pytest.mark.parametrize(("what", "minutes"), [("verify-email", 24 * 60), ("password-reset", 60)])
async def test_a_token_is_good_for_a_while(mailing: Mailing, ada: Client, what: str, minutes: int) -> None:
    await mailing.ask(what)
    token, others = await mailing.token(), {"new_password": NEW} if what == "password-reset" else {}

    await age(mailing, minutes - 1)
    await age(mailing, 1)

    assert_problem(await mailing.confirm(what, token, **others), 422)


async def test_a_token_is_for_what_it_was_mailed_for(mailing: Mailing, ada: Client) -> None:
    verify = await mailing.token()
    await mailing.ask("password-reset")
    reset = await mailing.token()

    assert_problem(await mailing.confirm("password-reset", verify, new_password=NEW), 422)
    assert_problem(await mailing.confirm("verify-email", reset), 422)
    assert (await mailing.confirm("verify-email", verify)).status_code == 204


async def test_a_common_password_is_refused_and_the_token_stays_good(mailing: Mailing, ada: Client) -> None:
    await mailing.ask("password-reset")
    token = await mailing.token()

    assert_problem(await mailing.confirm("password-reset", token, new_password="password1"), 422)
    assert (await mailing.confirm("password-reset", token, new_password=NEW)).status_code == 204


async def test_another_address_is_taken_when_it_is_confirmed_and_not_before(mailing: Mailing, ada: Client) -> None:
    assert (await ada.post("/v1/me/email", {"email": "Ada@Example.org"})).status_code == 202
    (to, _) = (await mailing.mails())[-1]
    token = await mailing.token()
    assert to == "Ada@example.org"
    assert (await ada.get("/v1/me")).json()["email"] == ADA["email"]

    assert (await mailing.confirm("verify-email", token)).status_code == 204

    me = (await ada.get("/v1/me")).json()
    assert (me["email"], me["is_verified"]) == ("Ada@example.org", True)
    assert (await mailing.sign_in(ADA["password"], "ada@example.ORG")).status_code == 200
    assert_problem(await mailing.sign_in(ADA["password"]), 401)
    to, notice = (await mailing.mails())[-1]
    assert to == ADA["email"]
    assert "Ada@example.org" in notice


async def test_an_address_that_was_taken_meanwhile_is_409_and_the_token_stays(mailing: Mailing, ada: Client) -> None:
    assert (await ada.post("/v1/me/email", {"email": "eve@example.com"})).status_code == 202
    token = await mailing.token()
    await fresh_account(mailing.http, mailing.state, "eve")

    assert_problem(await mailing.confirm("verify-email", token), 409)
    assert (await ada.get("/v1/me")).json()["email"] == ADA["email"]


async def test_an_address_that_has_an_account_is_answered_like_any_other(mailing: Mailing, ada: Client) -> None:
    await fresh_account(mailing.http, mailing.state, "eve")

    taken = await ada.post("/v1/me/email", {"email": "eve@example.com"})
    free = await ada.post("/v1/me/email", {"email": "free@example.com"})

    assert (taken.status_code, taken.text) == (free.status_code, free.text) == (202, "")


async def test_five_mails_an_hour_are_enough(mailing: Mailing) -> None:
    for _ in range(5):
        assert (await mailing.ask("password-reset", "nobody@example.com")).status_code == 202

    answer = await mailing.ask("password-reset", "NOBODY@example.com")

    assert_problem(answer, 429)
    assert answer.headers["RateLimit-Policy"] == '"mail";q=5;w=3600'
    assert (await mailing.ask("password-reset", "another@example.com")).status_code == 202


async def test_no_mailed_token_is_stored_as_it_is(mailing: Mailing, ada: Client) -> None:
    token = await mailing.token()
    async with mailing.state.database.engine.connect() as connection:
        (row,) = (await connection.execute(select(CONFIRMATIONS))).all()

    assert len(row.digest) == 32
    assert token not in str(row)


async def test_a_password_that_is_changed_is_told(mailing: Mailing, ada: Client) -> None:
    await mailing.confirm("verify-email", await mailing.token())
    body = {"current_password": ADA["password"], "new_password": NEW}
    assert (await ada.post("/v1/me/password", body)).status_code == 204

    to, notice = (await mailing.mails())[-1]

    assert to == ADA["email"]
    assert "was changed" in notice
    assert NEW not in notice


async def test_in_production_without_mail_it_is_501_for_everybody(
    state: State, database_url: str, tmp_path: Path
) -> None:
    async with worker(settings_for(database_url, tmp_path, environment="production")) as (_, http):
        alice = await another_session(http, state, (await fresh_account(http, state, "alice")).user_id, "")
        for email in ("alice@example.com", "nobody@example.com"):
            assert_problem(await http.post("/v1/auth/password-reset", json={"email": email}), 501)
        assert_problem(await alice.post("/v1/me/email", {"email": "a@example.org"}), 501)
        assert (await http.post("/v1/auth/register", json=ADA)).status_code == 201


async def test_a_new_password_switches_webhooks_off(mailing: Mailing, ada: Client) -> None:
    """Whoever had got in may have had an address of theirs told of everything."""
    hook = (await ada.post("/v1/webhooks", {"url": "https://thief.example/"})).json()
    await mailing.ask("password-reset")
    assert (await mailing.confirm("password-reset", await mailing.token(), new_password=NEW)).status_code == 204

    owner = Client(mailing.http, ada.user_id, (await mailing.sign_in(NEW)).json()["access_token"], "")
    [found] = (await owner.get("/v1/webhooks")).json()["items"]
    assert (found["id"], found["enabled"], found["disabled_because"]) == (hook["id"], False, "password_reset")
