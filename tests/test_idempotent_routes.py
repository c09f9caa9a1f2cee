"""Every route that writes takes an `Idempotency-Key`, or refuses it with a reason."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import delete

from backend.deps import _freshly_signed_in, _signed_in_person, signed_in
from backend.idempotency import METHODS, REFUSED
from backend.models import OutsideIdentity, table
from backend.routers.tasks import BATCH_BYTES
from backend.state import State
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.test_idempotency import assert_refused_key, counter, shown, stored
from tests.test_walls import BODIES, anything, filled, hers_of, routes


def writing(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    for context in iter_route_contexts(app.routes):
        for method in sorted({*METHODS} & {*(context.methods or ())}):
            assert isinstance(context.original_route, APIRoute)
            yield method, context.path_format or "", context.original_route


def calls(dependant: Dependant) -> set[Any]:
    return {dependant.call}.union(*(calls(each) for each in dependant.dependencies))


@pytest.fixture
async def with_one_connection(database_url: str, state: State, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """What a route asks past its Scope would wait for a second one, and in vain."""
    async with worker(settings_for(database_url, tmp_path, pool_size=1, database_timeout_seconds=2)) as (_, http):
        yield http


async def test_every_route_of_a_signed_in_user_obeys_the_key(
    app: FastAPI, with_one_connection: httpx.AsyncClient, state: State
) -> None:
    tried = 0
    for method, path in routes(app):
        if method not in METHODS or path in REFUSED:
            continue
        tried += 1
        user = await fresh_account(with_one_connection, state, f"walker{tried}")
        ids = {name: row["id"] for name, row in (await hers_of(user, state)).items()}
        sent: Any = {"json": filled(BODIES.get((method, path)), ids), "headers": {"Idempotency-Key": f'"{uuid4()}"'}}
        address = filled(path, ids)
        assert_refused_key(
            await user.call(method, address, json=sent["json"], headers={"Idempotency-Key": "x"}), "1 to"
        )

        first = await user.call(method, address, **sent)
        number = await counter(state, user)
        second = await user.call(method, address, **sent)

        assert first.is_success, (method, path, first.text)
        assert shown(second) == shown(first), (method, path)
        assert second.headers["Idempotency-Replayed"] == "true", (method, path)
        assert await counter(state, user) == number, (method, path)
        other = {**sent, "json": {**(sent["json"] or {}), "other": 1}}
        assert_refused_key(await user.call(method, address, **other), "another request")
        async with state.database.engine.connect() as connection:
            await connection.execute(delete(table(OutsideIdentity)))  # which may be somebody's once
    assert tried >= 6


@pytest.mark.parametrize("path", REFUSED)
async def test_a_route_that_cannot_have_it_refuses_it_and_does_nothing(
    alice: Client, state: State, app: FastAPI, path: str
) -> None:
    methods = [method for method, each, _ in writing(app) if each == path]
    assert methods, "an exception for a route that is not there"
    for method in methods:
        body = BODIES.get((method, path), {})
        answer = await alice.call(
            method, filled(path, anything()), json=body, headers={"Idempotency-Key": f'"{uuid4()}"'}
        )
        assert_refused_key(answer, f"not taken here: {REFUSED[path]}")
    assert await stored(state) == 0


def test_a_route_that_is_not_for_a_user_or_wants_more_than_a_token_is_an_exception(app: FastAPI) -> None:
    """A replay looks at whose token it is and what it is for, and not at how long ago somebody signed in."""
    found = {}
    for method, path, route in writing(app):
        asked = calls(route.dependant)
        if signed_in not in asked or {_freshly_signed_in, _signed_in_person} & asked:
            found[method, path] = path in REFUSED

    assert ("POST", "/v1/me/tokens") in found
    assert ("POST", "/v1/auth/token") in found
    assert all(found.values()), found


def test_no_route_takes_more_than_is_read(app: FastAPI) -> None:
    assert max(route.max_body_size or 0 for _, _, route in writing(app)) == BATCH_BYTES


async def test_the_documentation_says_where_it_is_taken(http: httpx.AsyncClient) -> None:
    openapi = (await http.get("/openapi.json")).json()
    seen = set()
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            named = [each for each in operation.get("parameters", []) if each["name"] == "Idempotency-Key"]
            takes = method.upper() in METHODS and path not in REFUSED
            assert len(named) == takes, (method, path)
            if takes:
                seen.add(path)
                assert "example" not in str(named)  # or Swagger's page would send the same key twice
                assert "Retry-After" in operation["responses"]["409"]["headers"]
                assert "in-flight" in operation["responses"]["409"]["description"]
                assert "Idempotency-Key" in operation["responses"]["422"]["description"]
                [good] = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
                assert good["headers"]["Idempotency-Replayed"]["required"] is False
    assert "/v1/tasks" in seen
