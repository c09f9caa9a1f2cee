"""What Python can do: Tend's work in hand-written SQL, over psycopg's own pool, in bare Starlette routes.

It checks the same tokens, gives the same rows, totals, cursors and links, and leaves out what makes Tend a service:
parameters that are checked, other filters and sorts, the wall, deadlines, errors in words. The same SQL in pgbench
is what Postgres can do.
"""

import base64
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backend.rules.text import sort_key
from backend.security.opaque import new_id
from backend.security.tokens import InvalidToken, Keys

POOL_SIZE: Final = 4
LIMIT: Final = 20
REMEMBERED_SECONDS: Final = 10
PLANNED_ONCE: Final = "-c plan_cache_mode=force_generic_plan"  # else most statements are planned at each execution

_ISO = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""


def _time(column: str) -> str:
    return f"to_char({column} AT TIME ZONE 'UTC', {_ISO}) AS {column}"


ITEM: Final = (
    f"SELECT row_to_json(item)::text AS body FROM (SELECT id, title, description, priority, {_time('due_date')}, tags, "
    f"completed, {_time('completed_at')}, project_id, parent_id, place_of(position, created_at) AS position, version, "
    f"{_time('created_at')}, {_time('updated_at')}) AS item"
)
MINE: Final = "user_id = %(owner)s AND deleted_at IS NULL"


def _page(where: str, key: str, *, after: str = "", counted: bool = True) -> str:
    """One row: the total, the items of the page, where the next one begins, how many there are with the one more."""
    total = f"(SELECT count(*) FROM tasks WHERE {where})" if counted else "NULL::bigint"
    return f"""
SELECT {total}, string_agg(body, ',' ORDER BY nth) FILTER (WHERE nth <= {LIMIT}),
       max(concat(id, ' ', key)) FILTER (WHERE nth = {LIMIT}), count(*)
FROM (SELECT *, row_number() OVER (ORDER BY key DESC, id DESC) AS nth
      FROM (SELECT *, {key} AS key FROM tasks WHERE {where}{after}
            ORDER BY {key} DESC, id DESC LIMIT {LIMIT + 1}) AS found) AS page,
     LATERAL ({ITEM}) AS body"""


QUERY: Final = "(SELECT websearch_to_tsquery('tend_english', %(search)s))"
ALIVE: Final = (
    "SELECT FROM sessions WHERE id = %(session)s AND user_id = %(owner)s AND ended_at IS NULL "
    "AND expires_at > clock_timestamp()"
)
FIRST: Final = _page(MINE, "created_at")
UNCOUNTED: Final = _page(MINE, "created_at", counted=False)
AFTER: Final = _page(
    MINE, "created_at", after=" AND (created_at, id) < (%(after_key)s::timestamptz, %(after_id)s::uuid)", counted=False
)
FILTERED: Final = _page(
    f"{MINE} AND jsonb_set('{{}}', ARRAY[user_id::text], tags) @> "
    "jsonb_set('{}', ARRAY[%(owner)s::uuid::text], %(tags)s::jsonb) "
    "AND NOT completed AND priority = %(priority)s::priority",
    "created_at",
)
# As Tend ranks a single word.
RANK: Final = (
    f"((ts_rank(search, {QUERY}) + 2 * ts_rank(search, {QUERY}, 1)) * CASE WHEN completed THEN 0.9 ELSE 1 END "
    "* power(2::float8, greatest(-10, least(10, date_part('epoch', created_at) / 315569520 - 5))))::real"
)
SEARCH: Final = _page(f"{MINE} AND user_id::text = %(owner)s::uuid::text AND search @@ {QUERY}", RANK)
CREATE: Final = f"""
WITH door AS (
    UPDATE sync_state SET seq = seq + 1 WHERE user_id = %(owner)s
    RETURNING user_id, seq, clock_timestamp() AS at
), made AS (
    INSERT INTO tasks (user_id, id, version, title, title_key, description, priority, due_date, tags, created_at,
                       updated_at)
    SELECT user_id, %(id)s::uuid, seq, %(title)s, %(title_key)s, %(description)s, %(priority)s::priority,
           %(due_date)s::timestamptz, %(tags)s::jsonb, at, at
    FROM door RETURNING *
)
SELECT version, body FROM made, LATERAL ({ITEM}) AS body"""


class Bare:
    def __init__(self, database_url: str, secret: str) -> None:
        self.keys = Keys([secret.encode()], 3600)
        self.pool = AsyncConnectionPool(
            database_url.replace("+psycopg", ""),
            min_size=POOL_SIZE,
            max_size=POOL_SIZE,
            kwargs={"autocommit": True, "prepare_threshold": 0, "options": PLANNED_ONCE},
            open=False,
        )
        self._remembered: dict[str, tuple[UUID, float]] = {}

    async def run(self, statement: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        async with self.pool.connection() as connection:
            return await (await connection.execute(statement, values)).fetchone()

    async def owner(self, request: Request) -> UUID | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        known = self._remembered.get(token)
        if known and known[1] > time.time():
            return known[0]
        try:
            claims = self.keys.read(token)
        except InvalidToken:
            return None
        if await self.run(ALIVE, {"owner": claims.user_id, "session": claims.session_id}) is None:
            return None
        self._remembered[token] = claims.user_id, time.time() + REMEMBERED_SECONDS
        return claims.user_id

    async def list_tasks(self, request: Request) -> Response:
        owner = await self.owner(request)
        if owner is None:
            return Response(status_code=401)
        asked = request.query_params
        values: dict[str, Any] = {"owner": owner}
        if cursor := asked.get("cursor"):
            statement = AFTER
            values["after_id"], _, values["after_key"] = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        elif search := asked.get("search"):
            statement, values["search"] = SEARCH, search
        elif tags := asked.getlist("tags"):
            statement, values["tags"], values["priority"] = FILTERED, json.dumps(tags), asked["priority"]
        else:
            statement = UNCOUNTED if asked.get("count") == "none" else FIRST
        row = await self.run(statement, values)
        assert row is not None
        total, items, place, found = row
        following = base64.urlsafe_b64encode(place.encode()).decode() if found > LIMIT else None
        written = f'"{following}"' if following else "null"
        known = "null" if total is None else total
        page = "null" if cursor else 1
        body = f'{{"items":[{items or ""}],"total":{known},"page":{page},"limit":{LIMIT},"next_cursor":{written}}}'
        return Response(body, headers=_link(request, total, following), media_type="application/json")

    async def create_task(self, request: Request) -> Response:
        owner = await self.owner(request)
        if owner is None:
            return Response(status_code=401)
        task = json.loads(await request.body())
        values = {
            "owner": owner,
            "id": new_id(),
            "title": task["title"],
            "title_key": sort_key(task["title"]),
            "description": task.get("description"),
            "priority": task.get("priority", "medium"),
            "due_date": task.get("due_date"),
            "tags": json.dumps(task.get("tags", [])),
        }
        row = await self.run(CREATE, values)
        if row is None:
            return Response(status_code=401)
        headers = {"Location": f"/v1/tasks/{values['id']}", "ETag": f'"{row[0]}"'}
        return Response(row[1], 201, headers, media_type="application/json")


def _link(request: Request, total: int | None, following: str | None) -> dict[str, str] | None:
    kept = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
    targets: dict[str, tuple[str, str | int]] = {}
    if following:
        targets["next"] = ("page", 2) if "cursor" not in request.query_params else ("cursor", following)
    if total is not None:
        targets["last"] = ("page", max(1, -(-total // LIMIT)))
    path = request.url.path
    links = ", ".join(f'<{path}?{urlencode([*kept, target])}>; rel="{rel}"' for rel, target in targets.items())
    return {"Link": links} if links else None


def create_app() -> Starlette:
    bare = Bare(os.environ["DATABASE_URL"], os.environ["JWT_SECRET"])

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with bare.pool:
            yield

    routes = [
        Route("/v1/tasks", bare.list_tasks, methods=["GET"]),
        Route("/v1/tasks", bare.create_task, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
