"""The trash: what was deleted in the last 30 days."""

import json

from fastapi import APIRouter, Request, Response

from backend.deps import NO_PARAMETERS, CanRead, CanWrite, asked_of, documented
from backend.routers.answers import etag, items_of, json_answer, problems, with_headers
from backend.routers.projects import ProjectId
from backend.routers.tasks import TaskId
from backend.schemas.projects import ProjectRead
from backend.schemas.tasks import Deleted, TaskRead
from backend.schemas.trash import Trash, TrashList
from backend.services import trash

router = APIRouter(prefix="/v1/trash", tags=["Trash"])


@router.get("", response_model=Trash, responses=problems(401, 403, 422), openapi_extra=documented(TrashList))
async def list_trash(mine: CanRead, request: Request) -> Response:
    """List the tasks and projects that you deleted, the last first, until they are gone for good after 30 days."""
    items, following = await trash.listed(mine, asked_of(request, TrashList))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.delete("", response_model=Deleted, responses=problems(401, 403, 422), dependencies=NO_PARAMETERS)
async def empty_trash(mine: CanWrite) -> Response:
    """Delete for good all that is in the trash."""
    return json_answer(f'{{"deleted":{await trash.empty(mine)}}}')


@router.post(
    "/tasks/{deleted_task_id}/restore",
    response_model=TaskRead,
    responses={**problems(401, 403, 404, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def restore_task(mine: CanWrite, deleted_task_id: TaskId) -> Response:
    """Bring a task back, with the parts that were taken along.

    Where its parent or its project is not there any more, it is a part of none, or in the inbox.
    """
    stored = await trash.restore_task(mine, deleted_task_id)
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.post(
    "/projects/{deleted_project_id}/restore",
    response_model=ProjectRead,
    responses={**problems(401, 403, 404, 409, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def restore_project(mine: CanWrite, deleted_project_id: ProjectId) -> Response:
    """Bring a project back, with the projects and tasks that were taken along.

    Where another has its name meanwhile, that is a 409: rename that one first.
    """
    stored = await trash.restore_project(mine, deleted_project_id)
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.delete(
    "/tasks/{deleted_task_id}", status_code=204, responses=problems(401, 403, 404, 422), dependencies=NO_PARAMETERS
)
async def scrub_task(mine: CanWrite, deleted_task_id: TaskId) -> Response:
    """Delete a task in the trash for good, with the parts that were taken along."""
    await trash.scrub(mine, "tasks", deleted_task_id)
    return Response(status_code=204)


@router.delete(
    "/projects/{deleted_project_id}",
    status_code=204,
    responses=problems(401, 403, 404, 422),
    dependencies=NO_PARAMETERS,
)
async def scrub_project(mine: CanWrite, deleted_project_id: ProjectId) -> Response:
    """Delete a project in the trash for good, with the projects and tasks that were taken along."""
    await trash.scrub(mine, "projects", deleted_project_id)
    return Response(status_code=204)
