"""What must hold, after each step and at the end."""

import json
from typing import Any

from sqlalchemy import text

from backend.services import pulling
from tend_client import Store
from tests.client import Json
from tests.sync_world import Violation, World


async def as_far_as_they_came(world: World) -> None:
    """What a device has up to its position is what the server has up to there."""
    async with world.engine.connect() as connection:
        counter = text("SELECT epoch, floor FROM sync_state WHERE user_id = :user")
        head = (await connection.execute(counter, {"user": world.user.user_id})).one()
    there = {(row.entity, row.id): row for row in await world.rows()}
    for device in world.devices:
        cursor = device.store.outgoing().body["cursor"]
        if cursor is None:
            continue
        position = pulling.unsealed(world.scope, cursor)
        if position.epoch != head.epoch or max(position.after, position.base) < head.floor:
            continue  # it will begin anew
        _compare(device.store, there, position)


def rows_of(store: Store) -> list[tuple[str, str, Json]]:
    """The server's, as the device has them."""
    since = "SELECT value FROM meta WHERE key = 'age'"  # what is older serves until the reset is complete
    rows = f"SELECT entity, id, body FROM rows WHERE age = ({since}) ORDER BY entity, id"
    found = store._db.execute(rows).fetchall()
    return [(entity, row_id, json.loads(body)) for entity, row_id, body in found]


def _compare(store: Store, there: dict[tuple[str, str], Any], position: pulling.Position) -> None:
    rows = {(entity, row_id): row["version"] for entity, row_id, row in rows_of(store)}
    for key, row in there.items():
        if row.version <= position.after and rows.get(key) != (None if row.deleted else row.version):
            raise Violation(f"lost: {key} is {row} on the server, and {rows.get(key)} at {position}")
    for key, version in rows.items():
        if key not in there:
            raise Violation(f"{key} is no more on the server, and there at {position}")
        if version > there[key].version:
            raise Violation(f"{key} is {version}, and the server has only {there[key].version}")


async def at_the_end(world: World) -> None:
    """The network is well again: all come to the same, and everything that was meant was done once, or is told of."""
    world.http.times = world.database.times = 0
    for _ in range(4):  # a fork or a restore takes two, and another tells the others
        received = [await world.sync(device) for device in world.devices]
        if not any(received) and not any(device.store.pending() for device in world.devices):
            break
    fresh = world.device(Store(":memory:"))
    world.devices.append(fresh)
    await world.sync(fresh)
    await as_far_as_they_came(world)
    shown = {json.dumps(rows_of(device.store)) for device in world.devices}
    if len(shown) != 1:
        raise Violation("the devices have come to different states")
    if any(device.store.pending() for device in world.devices):
        raise Violation("something still waits")
    await _done_once(world, [notice for device in world.devices for notice in device.store.notices()])


async def _done_once(world: World, notices: list[Json]) -> None:
    await world.count()
    told = {notice["lost"].get("title") for notice in notices if notice["kind"] == "conflict"}
    told |= {notice["operation"]["set"].get("title") for notice in notices if notice["kind"] == "rejected"}
    for notice in notices:
        refused = notice["kind"] == "rejected" and notice["operation"]["op"] == "create" and notice["operation"]["id"]
        if refused and refused in world.ids - world.renumbered:
            raise Violation(f"{refused} was made, and its device told that it was refused")
    made = {world.created[row_id] for row_id in world.ids & world.created.keys()}
    for value in world.values:
        times = world.applied[value]
        if times > 1:
            raise Violation(f"doubled: {value} was given {times} times")
        if not times and value not in told | made | world.forgiven:
            raise Violation(f"lost: {value} was neither done nor told of")
