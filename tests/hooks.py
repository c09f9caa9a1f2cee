"""What the tests of webhooks have in common."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from backend.services.delivering import Sender
from backend.state import State
from tests.client import Client, Json
from tests.receiver import Answer, Receiver, receiving

NOT_NOW = Answer(503)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender(state: State) -> AsyncIterator[Sender]:
    sender = Sender(state)
    yield sender
    await sender.close()


async def tell(sender: Sender) -> None:
    await sender.look()
    await sender.settled()


async def hook_to(user: Client, receiver: Receiver, *events: str, **fields: Any) -> Json:
    wanted = {"url": f"{receiver.address}/hook", "events": list(events) or ["*"], **fields}
    answer = await user.post("/v1/webhooks", wanted)
    assert answer.status_code == 201, answer.text
    hook: Json = answer.json()
    return hook


async def shown(user: Client, hook: Json) -> Json:
    answer = await user.get(f"/v1/webhooks/{hook['id']}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def deliveries(user: Client, hook: Json, **parameters: Any) -> Json:
    answer = await user.get(f"/v1/webhooks/{hook['id']}/deliveries", params=parameters)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


async def sql(state: State, statement: str, **values: Any) -> list[Any]:
    async with state.database.engine.connect() as connection:
        result = await connection.execute(text(statement), values)
        return list(result) if result.returns_rows else []


async def later(state: State, time: timedelta = timedelta(hours=7)) -> None:
    """As if so much time had passed for every webhook."""
    columns = ("next_try_at", "claimed_until", "failing_since", "former_until")
    moved = ", ".join(f"{name} = {name} - :time" for name in columns)
    await sql(state, f"UPDATE webhooks SET {moved}", time=time)
    await sql(state, "UPDATE webhook_deliveries SET delivered_at = delivered_at - :time", time=time)


async def wait_for(true: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def in_the_middle(state: State, receiver: Receiver, seconds: float) -> Sender:
    """A worker whose first message waits for so long to be answered."""
    receiver.answers.append(Answer(seconds=seconds))
    other = Sender(state)
    await other.look()
    await wait_for(lambda: bool(receiver.got))
    return other
