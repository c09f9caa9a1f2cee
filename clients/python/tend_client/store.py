"""A copy of one account's rows and the queue of what was done to them, in one SQLite file.

What is written here is safe from a crash when the call returns (WAL, synchronous=FULL). The rules by which nothing is
lost and nothing done twice: operations are numbered without gaps; one leaves the queue in the same transaction that
stores the page which confirms it; and a page is stored only if nobody else has stored one meanwhile.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast, get_args
from uuid import UUID, uuid4

import uuid_utils

from tend_client.errors import NotThere
from tend_client.models import EntityName, Json, SyncAnswer
from tend_client.overlay import overlaid
from tend_client.tables import Key, Tables

AT_ONCE: Final = 100
BYTES: Final = 900_000
"""Of the operations in one request; the server takes 1 MiB."""


@dataclass
class Report:
    """What one synchronisation did. `notices` of the store have the conflicts and rejections."""

    sent: int = 0
    received: int = 0
    resets: int = 0
    forks: int = 0


class Outgoing(NamedTuple):
    """A request, and of which state of the store it is."""

    body: Json

    @property
    def last_n(self) -> int:
        operations = self.body["operations"]
        return int(operations[-1]["n"]) if operations else 0


class Store(Tables):
    """`path` may be `:memory:`. One for each account; several processes may have the same open."""

    # What the application does.

    def create(self, entity: EntityName, **fields: Any) -> str:
        """Its id, made here unless `id` is among the fields. Raises ValueError, as all that changes does, for what no
        request could carry; what the server would not take is found out when it is sent (`notices`).
        """
        row_id = str(UUID(str(fields.pop("id", None) or uuid_utils.uuid7())))
        self._enqueue("create", entity, row_id, fields)
        return row_id

    def update(self, entity: EntityName, row_id: str, /, **fields: Any) -> None:
        """Raises NotThere."""
        self._enqueue("update", entity, row_id, fields)

    def complete(self, task_id: str) -> None:
        """Raises NotThere."""
        self._enqueue("complete", "tasks", task_id, {})

    def delete(self, entity: EntityName, row_id: str, /, **farewell: Any) -> None:
        """Of a project, `tasks="inbox"` keeps its tasks. What it takes along goes when the server says so.

        Raises NotThere.
        """
        self._enqueue("delete", entity, row_id, farewell)

    def get(self, entity: EntityName, row_id: str) -> Json:
        """Raises NotThere."""
        with self._lock:
            found = self._db.execute("SELECT body FROM local WHERE entity = ? AND id = ?", (entity, row_id)).fetchone()
        if found is None:
            raise NotThere(f"There is no {row_id} among the {entity}.")
        return cast(Json, json.loads(found[0]))

    def all(self, entity: EntityName) -> list[Json]:
        """In the order of their ids: that of their making, for ids of version 7."""
        with self._lock:
            rows = self._db.execute("SELECT body FROM local WHERE entity = ? ORDER BY id", (entity,)).fetchall()
        return [json.loads(body) for (body,) in rows]

    def pending(self) -> int:
        """How many operations wait to be sent or confirmed."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM queue").fetchone()[0])

    def notices(self) -> list[Json]:
        """What came out otherwise than it was meant: `kind` is `conflict`, with what was lost, or `rejected`, with the
        operation and why. They stay until they are dismissed.
        """
        with self._lock:
            rows = self._db.execute("SELECT id, notice FROM notices ORDER BY id").fetchall()
        return [{"notice_id": notice_id, **json.loads(notice)} for notice_id, notice in rows]

    def dismiss(self, notice_id: int) -> None:
        with self._writing():
            self._db.execute("DELETE FROM notices WHERE id = ?", (notice_id,))

    # What synchronising does.

    def outgoing(self) -> Outgoing:
        """The next request: the first operations of the queue, and from where on to be told.

        They are marked as sent: from now on they stay as they are, since the server may have them.
        """
        with self._writing():
            rows = self._db.execute("SELECT n, operation FROM queue ORDER BY n LIMIT ?", (AT_ONCE,)).fetchall()
            operations: list[Json] = []
            size = 0
            for n, operation in rows:
                size += len(operation.encode())
                if operations and size > BYTES:
                    break
                operations.append({"n": n, **json.loads(operation)})
            if operations:
                self._db.execute("UPDATE queue SET sent = 1 WHERE n <= ?", (operations[-1]["n"],))
            meta = {name: self._meta(name) for name in ("client_id", "ack", "cursor")}
            return Outgoing({**meta, "operations": operations})

    def take(self, outgoing: Outgoing, answer: SyncAnswer) -> bool:
        """Stores an answer, whole or not at all. False when it is of a state that this store has left meanwhile."""
        with self._writing():
            if not self._is_still(outgoing):
                return False
            touched: set[Key] = set()
            age = int(self._meta("age")) + answer["reset"]
            if answer["reset"]:
                self._set("age", age)
                self._forget_bases("WHERE sent = 0")
            for change in answer["changes"]:
                key: Key = (change["entity"], change["id"])
                touched.add(key)
                if change["deleted"]:
                    self._db.execute("DELETE FROM rows WHERE entity = ? AND id = ?", key)
                else:
                    row = (*key, json.dumps(change["row"]), age)
                    self._db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", row)
            if not answer["has_more"]:
                touched |= set(self._db.execute("SELECT entity, id FROM rows WHERE age < ?", (age,)).fetchall())
                self._db.execute("DELETE FROM rows WHERE age < ?", (age,))
            touched |= self._confirm(outgoing, answer)
            self._set("cursor", answer["cursor"])
            self._follow(answer["server_time"])
            for key in touched:
                self._rebase(key)
            return True

    def fork(self, outgoing: Outgoing) -> None:
        """Another store has this one's name, or the server has lost what it told of: begins anew under another name.

        What was not confirmed is numbered anew, and may be done a second time: to the same effect, by its ids and
        clocks.
        """
        with self._writing():
            if not self._is_still(outgoing):
                return
            operations = [row[0] for row in self._db.execute("SELECT operation FROM queue ORDER BY n")]
            keys = [(each["entity"], each["id"]) for each in map(json.loads, operations)]
            self._db.execute("DELETE FROM queue")
            renumbered = [(n, *key, each) for n, (key, each) in enumerate(zip(keys, operations, strict=True), start=1)]
            queue = "INSERT INTO queue (n, entity, id, operation, again) VALUES (?, ?, ?, ?, 1)"
            self._db.executemany(queue, renumbered)
            self._forget_bases()
            begun = {"client_id": str(uuid4()), "next_n": len(operations) + 1, "ack": 0, "cursor": None}
            for name, value in begun.items():
                self._set(name, value)

    # How.

    def _enqueue(self, op: str, entity: EntityName, row_id: str, fields: Json) -> None:
        """Raises ValueError for what no request could carry: it would stand in the way of all that comes after."""
        if entity not in get_args(EntityName):
            raise ValueError(f"{entity} is none of {', '.join(get_args(EntityName))}")
        row_id = str(UUID(row_id))
        with self._writing():
            if op != "create":
                self.get(entity, row_id)
            operation = {
                "op": op,
                "entity": entity,
                "id": row_id,
                "set": fields,
                "base": self._version(entity, row_id),
                "at": self._tick(),
            }
            text = json.dumps(operation, allow_nan=False, ensure_ascii=False)
            if len(text.encode()) > BYTES:
                raise ValueError(f"{len(text.encode()):,} bytes are more than one request may have")
            n = int(self._meta("next_n"))
            self._set("next_n", n + 1)
            queue = "INSERT INTO queue (n, entity, id, operation) VALUES (?, ?, ?, ?)"
            self._db.execute(queue, (n, entity, row_id, text))
            here = self._db.execute("SELECT body FROM local WHERE entity = ? AND id = ?", (entity, row_id)).fetchone()
            self._show((entity, row_id), overlaid(json.loads(here[0]) if here else None, [operation]))

    def _is_still(self, outgoing: Outgoing) -> bool:
        return all(self._meta(name) == outgoing.body[name] for name in ("client_id", "ack", "cursor"))

    def _forget_bases(self, which: str = "") -> None:
        """The versions that were seen are of another history, or nobody knows any more of what."""
        self._db.execute(f"UPDATE queue SET operation = json_set(operation, '$.base', 0) {which}")  # noqa: S608

    def _confirm(self, outgoing: Outgoing, answer: SyncAnswer) -> set[Key]:
        """Drops what is done, and keeps what is to be told of it: the keys of the rows."""
        done = min(answer["last_n"], outgoing.last_n)
        operations = {each["n"]: each for each in outgoing.body["operations"] if each["n"] <= done}
        if not operations:
            return set()
        again = {n for (n,) in self._db.execute("SELECT n FROM queue WHERE again AND n <= ?", (done,))}
        for result in answer["results"]:
            if result["n"] in operations and result["error"]:
                if result["n"] in again and self._was_made(operations[result["n"]], result["error"]):
                    continue
                self._note({"kind": "rejected", "operation": operations[result["n"]], "error": result["error"]})
        for conflict in answer["conflicts"]:
            self._note({"kind": "conflict", **conflict})
        self._db.execute("DELETE FROM queue WHERE n <= ?", (done,))
        self._set("ack", done)
        return {(each["entity"], each["id"]) for each in operations.values()}

    def _was_made(self, operation: Json, error: Json) -> bool:
        """It is refused because it was done already, under this store's former name."""
        there = "SELECT 1 FROM rows WHERE entity = ? AND id = ?"
        found = self._db.execute(there, (operation["entity"], operation["id"])).fetchone()
        return bool(found) and operation["op"] == "create" and error["type"] == "conflict"
