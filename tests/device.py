"""A device as the protocol sees it: what it sends is numbered, and it keeps what it is told. It stores nothing."""

from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.client import Client, Json


class Device:
    def __init__(self, user: Client) -> None:
        self.user = user
        self.client_id = str(uuid4())
        self.n = 0
        self.ack = 0
        self.cursor: str | None = None
        self.clock = 1_000_000
        self.rows: dict[tuple[str, str], Json] = {}

    def operation(self, op: str, entity: str, row_id: str | UUID | None = None, **more: Any) -> Json:
        """The next one. `set`, `base` and `at` may be given."""
        self.n += 1
        self.clock += 1
        return {"n": self.n, "op": op, "entity": entity, "id": str(row_id or uuid4()), "at": self.clock, **more}

    def create(self, entity: str, row_id: str | UUID | None = None, **fields: Any) -> Json:
        return self.operation("create", entity, row_id, set=fields)

    def update(self, entity: str, row_id: str | UUID, base: int | None = None, at: int = 0, **fields: Any) -> Json:
        """By default of what the device has of the row."""
        known = self.rows.get((entity, str(row_id)), {}).get("version", 0)
        operation = self.operation("update", entity, row_id, set=fields, base=known if base is None else base)
        return {**operation, "at": at or operation["at"]}

    async def send(self, *operations: Json, **more: Any) -> httpx.Response:
        body = {"client_id": self.client_id, "ack": self.ack, "cursor": self.cursor, "operations": list(operations)}
        return await self.user.post("/v1/sync", {**body, **more})

    async def sync(self, *operations: Json, **more: Any) -> Json:
        """The answer, kept."""
        answer = await self.send(*operations, **more)
        assert answer.status_code == 200, answer.text
        said: Json = answer.json()
        self.take(said)
        return said

    def take(self, said: Json) -> None:
        if said["reset"]:
            self.rows.clear()
        for change in said["changes"]:
            key = change["entity"], change["id"]
            if change["deleted"]:
                self.rows.pop(key, None)
            else:
                self.rows[key] = change["row"]
        self.cursor, self.ack = said["cursor"], said["last_n"]

    async def catch_up(self, **more: Any) -> list[Json]:
        """All that has changed, a page at a time."""
        changes: list[Json] = []
        while True:
            said = await self.sync(**more)
            changes += said["changes"]
            if not said["has_more"]:
                return changes

    def row(self, entity: str, row_id: str | UUID) -> Json:
        return self.rows[entity, str(row_id)]
