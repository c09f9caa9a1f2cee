"""Tasks: one by one, in batches, and the listing."""

import json
from functools import lru_cache, partial
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Path, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from backend.deps import (
    CHANGE,
    NO_PARAMETERS,
    CanRead,
    CanWrite,
    IfMatch,
    asked_of,
    documented,
    expected_versions,
    known_tags,
)
from backend.routers.answers import etag, items_of, json_answer, problems, stored_answer, with_headers
from backend.schemas.filters import DEEPEST, TaskFilter
from backend.schemas.lists import Move, Walked
from backend.schemas.scalars import Id
from backend.schemas.tasks import (
    Deleted,
    Subtasks,
    TaskBatch,
    TaskBatchDelete,
    TaskBatchPatch,
    TaskCreate,
    TaskEdit,
    TaskItems,
    TaskPage,
    TaskPatch,
    TaskRead,
    Updated,
)
from backend.services import listing, moving, tasks, trash
from backend.services.task_criteria import place
from backend.services.tasks import TASK

BATCH_BYTES = 16 * 1024 * 1024
COMPACT = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class _NotBatch(StringConvertor):
    """What stands for a task in a path, and may be no id (422). /v1/tasks/batch has methods of its own (405)."""

    regex = "(?!batch$)[^/]+"


register_url_convertor("task", _NotBatch())

router = APIRouter(prefix="/v1/tasks", tags=["Tasks"])
TaskId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"])]


@router.get(
    "",
    response_model=TaskPage,
    responses={**problems(304, 401, 403, 422), 200: with_headers("Tend-Change")},
    openapi_extra=documented(TaskFilter, CHANGE),
)
async def list_tasks(mine: CanRead, request: Request) -> Response:
    """List, filter, search and sort your tasks.

    A page is one statement, whatever is asked; only a search that finds nothing asks one more, for
    `did_you_mean`. `Link` leads to the pages around it (RFC 8288). With
    `cursor`, a walk shows every task that nobody changes meanwhile exactly once.

    With `If-None-Match`, a listing in which nothing has changed is a 304 without a body, at next to no
    cost. A listing that changes with the clock (`overdue`) has no `ETag`.
    """
    filters = asked_of(request, TaskFilter)
    found = await listing.page(mine, filters, known_tags(request))
    if isinstance(found, listing.Unchanged):
        return Response(status_code=304, headers={"ETag": _weak(found.mark)})
    number = None if filters.cursor else filters.page or 1
    body = items_of(
        [found.items],
        total="null" if found.total is None else str(found.total),
        page=str(number or "null"),
        limit=str(filters.limit),
        next_cursor=f'"{found.next_cursor}"' if found.next_cursor else "null",
        **_beside(found),
    )
    headers = {"ETag": _weak(found.mark)} if found.mark else {}
    if links := _links(request, number, filters.limit, found):
        headers["Link"] = links
    return json_answer(body, headers=headers)


def _beside(found: listing.Page) -> dict[str, str]:
    """What is in the answer only when it was asked for, or helps: JSON."""
    told = {"estimated": found.estimated, "facets": found.facets, "did_you_mean": found.did_you_mean}
    beside = {name: COMPACT(value) for name, value in told.items() if value is not None}
    if found.included is not None:
        beside |= {"included": f"[{found.included}]", "included_all": COMPACT(found.included_all)}
    return beside


def _weak(mark: str) -> str:
    """The same tasks, if not the same bytes."""
    return f'W/"{mark}"'


def _links(request: Request, number: int | None, limit: int, found: listing.Page) -> str:
    """To the next page, by number where that reaches, else by cursor; and to the first, previous and last."""
    targets: dict[str, tuple[str, int | str]] = {}
    deepest = DEEPEST // limit
    last = deepest if found.total is None else max(1, -(-found.total // limit))
    if found.next_cursor:
        by_number = number is not None and number < deepest
        targets["next"] = ("page", number + 1) if number and by_number else ("cursor", found.next_cursor)
    if number is not None and number > 1:
        targets["prev"] = ("page", min(number - 1, last))
        targets["first"] = ("page", 1)
    if number is not None and found.total is not None and last <= deepest:
        targets["last"] = ("page", last)
    start = f"{request.scope['path']}?{_kept(request.scope['query_string'])}"
    return ", ".join(f'<{start}{name}={place}>; rel="{rel}"' for rel, (name, place) in targets.items())


@lru_cache(maxsize=1024)
def _kept(query: bytes) -> str:
    """The parameters that all pages have in common."""
    pairs = parse_qsl(query.decode(), keep_blank_values=True)
    return "".join(f"{urlencode([pair])}&" for pair in pairs if pair[0] not in {"page", "cursor"})


@router.post(
    "",
    status_code=201,
    response_model=TaskRead,
    responses={**problems(401, 403, 409, 413, 415, 422), 201: with_headers("ETag", "Location")},
    dependencies=NO_PARAMETERS,
)
async def create_task(mine: CanWrite, task: TaskCreate) -> Response:
    """Create a task.

    A client that may lose the answer brings its own `id`: sent again, it is a 409 and nothing is doubled.
    """
    task_id, stored = await tasks.create(mine, task)
    headers = {"Location": f"/v1/tasks/{task_id}", "ETag": etag(stored.version)}
    return json_answer(stored.body, 201, headers)


@router.post(
    "/batch",
    status_code=201,
    response_model=TaskItems,
    responses=problems(401, 403, 409, 413, 415, 422),
    dependencies=NO_PARAMETERS,
    max_body_size=BATCH_BYTES,
)
async def create_tasks(mine: CanWrite, batch: TaskBatch) -> Response:
    """Create up to 1,000 tasks, all or none, in one statement."""
    return json_answer(items_of(await tasks.create_many(mine, batch.tasks)), 201)


@router.patch(
    "/batch",
    response_model=Updated,
    responses=problems(401, 403, 404, 413, 415, 422),
    dependencies=NO_PARAMETERS,
    max_body_size=BATCH_BYTES,
)
async def edit_tasks(mine: CanWrite, batch: TaskBatchPatch) -> Response:
    """Change up to 1,000 tasks in the same way, all or none.

    An id that is not there is a 404 whose `errors` name it, and nothing is changed.
    """
    return json_answer(f'{{"updated":{await tasks.edit_many(mine, batch.ids, batch.set)}}}')


@router.post(
    "/batch/delete",
    response_model=Deleted,
    responses=problems(401, 403, 404, 413, 415, 422),
    dependencies=NO_PARAMETERS,
    max_body_size=BATCH_BYTES,
)
async def delete_tasks(mine: CanWrite, batch: TaskBatchDelete) -> Response:
    """Put up to 1,000 tasks into the trash with their subtasks, all or none."""
    return json_answer(f'{{"deleted":{await trash.remove_tasks(mine, batch.ids)}}}')


@router.get(
    "/{task_id:task}",
    response_model=TaskRead,
    responses={**problems(304, 401, 403, 404, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def read_task(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """Read a task. With `If-None-Match`, a task that has not changed is a 304 without a body."""
    stored = await tasks.read(mine, task_id)
    return stored_answer(request, stored.version, stored.body)


@router.patch(
    "/{task_id:task}",
    response_model=TaskRead,
    responses={**problems(401, 403, 404, 409, 412, 413, 415, 422), 200: with_headers("ETag")},
    openapi_extra=documented(TaskEdit),
)
async def edit_task(
    mine: CanWrite, task_id: TaskId, patch: TaskPatch, request: Request, if_match: IfMatch = None
) -> Response:
    """Change the fields that are sent; leave the others as they are; null clears.

    Made a part of another task by `parent_id`, or put into a project, it takes its subtasks along.

    With `If-Match`, a change that somebody else made first is a 412 instead of being overwritten.
    """
    with_parts = asked_of(request, TaskEdit).subtasks == "complete"
    stored = await tasks.edit(mine, task_id, patch, expected_versions(if_match), with_parts=with_parts)
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.get(
    "/{task_id:task}/subtasks",
    response_model=Subtasks,
    responses=problems(401, 403, 404, 422),
    openapi_extra=documented(Walked),
)
async def list_subtasks(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """List the parts of a task and their parts, each followed by its own, in the order by hand."""
    items, total, following = await listing.subtasks(mine, task_id, asked_of(request, Walked))
    return json_answer(items_of(items, total=str(total), next_cursor=json.dumps(following)))


@router.post(
    "/{task_id:task}/move",
    response_model=TaskRead,
    responses={**problems(401, 403, 404, 412, 413, 415, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def move_task(mine: CanWrite, task_id: TaskId, to: Move, if_match: IfMatch = None) -> Response:
    """Move a task in the order by hand (`sort=position`): right behind another, or right before it."""
    stored = await moving.move(mine, TASK, place, task_id, to, expected_versions(if_match))
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.delete(
    "/{task_id:task}", status_code=204, responses=problems(401, 403, 404, 412, 422), dependencies=NO_PARAMETERS
)
async def delete_task(mine: CanWrite, task_id: TaskId, if_match: IfMatch = None) -> Response:
    """Put a task into the trash, with its subtasks."""
    await trash.remove_task(mine, task_id, expected_versions(if_match))
    return Response(status_code=204)
