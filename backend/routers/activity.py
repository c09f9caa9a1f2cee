"""Activity: what became of tasks, and by whom."""

import json
from uuid import UUID

from fastapi import APIRouter, Request, Response

from backend.deps import CanRead, asked_of, documented
from backend.routers.answers import items_of, json_answer, problems
from backend.routers.tasks import TaskId
from backend.schemas.activity import ActivityPage
from backend.schemas.lists import Walked
from backend.scope import Scope
from backend.services import activity

router = APIRouter(prefix="/v1", tags=["Activity"])


@router.get(
    "/activity", response_model=ActivityPage, responses=problems(401, 403, 422), openapi_extra=documented(Walked)
)
async def read_activity(mine: CanRead, request: Request) -> Response:
    """What became of your tasks in the last year, newest first: those in the trash too.

    A change of several tasks at once is an item a task. What was made equal to what it was is not told.
    """
    return await _answer(mine, request)


@router.get(
    "/tasks/{task_id:task}/activity",
    response_model=ActivityPage,
    responses=problems(401, 403, 404, 422),
    openapi_extra=documented(Walked),
)
async def read_task_activity(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """What became of a task in the last year, newest first. It can be read as long as the task itself."""
    return await _answer(mine, request, task_id)


async def _answer(mine: Scope, request: Request, task_id: UUID | None = None) -> Response:
    items, following = await activity.newest(mine, asked_of(request, Walked), task_id)
    return json_answer(items_of(items, next_cursor=json.dumps(following)))
