"""What becomes of the database while devices are away: purges, and a restore."""

from sqlalchemy import text
from sqlmodel import SQLModel

from backend.services import tombstones, trash
from backend.services.synced import ENTITIES
from tend_client import AsyncOffline
from tests.sync_world import World, values_of

OF_USER = (*ENTITIES, "activity", "sync_state", "sync_clients", "sync_receipts")
"""In the order in which they refer to one another."""


async def purge(world: World, _device: AsyncOffline, number: int) -> None:
    """As if a hundred days had passed for all that is deleted."""
    await world.count()
    async with world.engine.connect() as connection:
        mine = {"user": world.user.user_id}
        seq = (await connection.execute(text("SELECT seq FROM sync_state WHERE user_id = :user"), mine)).scalar_one()
        for name in ENTITIES:
            old = f"UPDATE {name} SET deleted_at = deleted_at - interval '100 days', version = version + :seq"
            older = f"{old} WHERE user_id = :user AND deleted_at IS NOT NULL"
            await connection.execute(text(older), {**mine, "seq": seq})
        await connection.execute(text("UPDATE sync_state SET seq = 2 * seq WHERE user_id = :user"), mine)
    if number % 2:
        for each in world.devices[:2]:
            await world.sync(each)
    await trash.empty(world.scope, old=True)
    await tombstones.purge_of(world.scope)


async def back_up(world: World, _device: AsyncOffline, _number: int) -> None:
    async with world.engine.connect() as connection:
        world.saved = {}
        for name in OF_USER:
            rows = await connection.execute(
                text(f"SELECT to_jsonb(t)::text FROM {name} t WHERE user_id = :user"), {"user": world.user.user_id}
            )
            world.saved[name] = list(rows.scalars())


async def restore(world: World, _device: AsyncOffline, _number: int) -> None:
    """The database goes back to when it was saved; what was confirmed since is gone, and what waits is not."""
    if world.saved is None:
        return
    await world.count()
    waiting = {value for each in world.devices for value in values_of(each.store)}
    world.forgiven |= world.values - waiting
    async with world.engine.connect() as connection:
        for name in ("sync_receipts", *(each for each in reversed(OF_USER) if each != "sync_receipts")):
            await connection.execute(text(f"DELETE FROM {name} WHERE user_id = :user"), {"user": world.user.user_id})
        for name in OF_USER:
            columns = [f'"{c.name}"' for c in SQLModel.metadata.tables[name].c if c.computed is None]
            listed = ", ".join(columns)
            rows = "[" + ",".join(world.saved[name]) + "]"
            insert = f"SELECT {listed} FROM jsonb_populate_recordset(NULL::{name}, CAST(:rows AS jsonb))"
            await connection.execute(text(f"INSERT INTO {name} ({listed}) {insert}"), {"rows": rows})
        renew = "UPDATE sync_state SET epoch = gen_random_uuid() WHERE user_id = :user"
        await connection.execute(text(renew), {"user": world.user.user_id})
