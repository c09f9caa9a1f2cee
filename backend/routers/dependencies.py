"""Dependencies between tasks: which is to be done before which."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from backend.deps import NO_PARAMETERS, CanRead, CanWrite, asked_of, documented
from backend.routers.answers import items_of, json_answer, problems
from backend.routers.tasks import TaskId
from backend.schemas.dependencies import DependencyTransfer, RelatedTasks, Transferred
from backend.schemas.lists import Walked
from backend.schemas.scalars import Id
from backend.services import dependencies
from backend.services.task_dependencies import BACK, ONWARD, Way

CIRCLE = "The tasks would wait for one another in a circle, and `path` shows it; or one of them would have too many."

EXAMPLE: dict[str, Any] = {
    "detail": "The task would depend on itself, by way of 1 other: `path` has them.",
    "path": [
        {"id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55", "title": "Water the figs"},
        {"id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a66", "title": "Buy a can"},
        {"id": "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55", "title": "Water the figs"},
    ],
}


class _NotTransfer(StringConvertor):
    """What stands for a task in a path, and may be no id (422). …/transfer has a method of its own (405)."""

    regex = "(?!transfer$)[^/]+"


register_url_convertor("dependency", _NotTransfer())

router = APIRouter(prefix="/v1/tasks/{task_id:task}", tags=["Dependencies"])
OtherId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a66"])]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """With a 409 in words of its own."""
    described = problems(*statuses, 409)
    described[409]["description"] = CIRCLE
    described[409]["content"]["application/problem+json"]["example"] |= EXAMPLE
    return described


async def _beside(mine: CanRead, task_id: TaskId, request: Request, way: Way) -> Response:
    items, following = await dependencies.beside(mine, task_id, way, asked_of(request, Walked))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.get(
    "/dependencies",
    response_model=RelatedTasks,
    responses=problems(401, 403, 404, 422),
    openapi_extra=documented(Walked),
)
async def list_dependencies(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """List the tasks that a task depends on: those to be done before it. Tasks in the trash are not among them."""
    return await _beside(mine, task_id, request, ONWARD)


@router.get(
    "/dependents",
    response_model=RelatedTasks,
    responses=problems(401, 403, 404, 422),
    openapi_extra=documented(Walked),
)
async def list_dependents(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """List the tasks that depend on a task: those that wait for it. Tasks in the trash are not among them."""
    return await _beside(mine, task_id, request, BACK)


@router.post(
    "/dependencies/transfer",
    response_model=Transferred,
    responses=refusals(401, 403, 404, 413, 415, 422),
    dependencies=NO_PARAMETERS,
)
async def transfer_dependencies(mine: CanWrite, task_id: TaskId, wanted: DependencyTransfer) -> Response:
    """Give all dependencies of a task to another one: those that it has, and those that others have on it.

    All or none. What the other one has already, and a dependency between the two, goes away. A circle is a 409
    as it is for a single one, and nothing changes.
    """
    return json_answer(f'{{"moved":{await dependencies.transfer(mine, task_id, wanted.to)}}}')


@router.put(
    "/dependencies/{other_id:dependency}",
    status_code=201,
    response_class=Response,
    responses={**refusals(401, 403, 404, 422), 204: {"description": "It was there already; nothing changed."}},
    dependencies=NO_PARAMETERS,
)
async def add_dependency(mine: CanWrite, task_id: TaskId, other_id: OtherId) -> Response:
    """Have a task depend on another one, which is then to be done before it.

    Sent again, it changes nothing (204). Where the other one depends on the task, directly or by way of others, or
    is the task itself, it is a 409 whose `path` leads from the task back to itself.
    """
    return Response(status_code=201 if await dependencies.add(mine, task_id, other_id) else 204)


@router.delete(
    "/dependencies/{other_id:dependency}",
    status_code=204,
    responses=problems(401, 403, 404, 422),
    dependencies=NO_PARAMETERS,
)
async def remove_dependency(mine: CanWrite, task_id: TaskId, other_id: OtherId) -> Response:
    """Have a task no longer depend on another one. Both stay as they are."""
    await dependencies.remove(mine, task_id, other_id)
    return Response(status_code=204)
