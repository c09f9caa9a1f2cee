"""Projects: what tasks are put into, one inside the other."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from backend.deps import NO_PARAMETERS, CanRead, CanWrite, IfMatch, asked_of, documented, expected_versions
from backend.routers.answers import etag, items_of, json_answer, problems, stored_answer, with_headers
from backend.schemas.lists import Move
from backend.schemas.projects import (
    ProjectCreate,
    ProjectDelete,
    ProjectList,
    ProjectPatch,
    ProjectRead,
    Projects,
)
from backend.schemas.scalars import Id
from backend.services import moving, projects, trash
from backend.services.projects import PROJECT

router = APIRouter(prefix="/v1/projects", tags=["Projects"])
ProjectId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99"])]


@router.get("", response_model=Projects, responses=problems(401, 403, 422), openapi_extra=documented(ProjectList))
async def list_projects(mine: CanRead, request: Request) -> Response:
    """List your projects in the order by hand, or by name, each with how many open tasks are in it."""
    items, following = await projects.listed(mine, asked_of(request, ProjectList))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.post(
    "",
    status_code=201,
    response_model=ProjectRead,
    responses={**problems(401, 403, 409, 413, 415, 422), 201: with_headers("ETag", "Location")},
    dependencies=NO_PARAMETERS,
)
async def create_project(mine: CanWrite, project: ProjectCreate) -> Response:
    """Create a project, at the end of the order by hand unless `position` says where."""
    project_id, stored = await projects.create(mine, project)
    headers = {"Location": f"/v1/projects/{project_id}", "ETag": etag(stored.version)}
    return json_answer(stored.body, 201, headers)


@router.get(
    "/{project_id}",
    response_model=ProjectRead,
    responses={**problems(304, 401, 403, 404, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def read_project(mine: CanRead, project_id: ProjectId, request: Request) -> Response:
    """Read a project. With `If-None-Match`, one that has not changed is a 304 without a body."""
    stored = await projects.read(mine, project_id)
    return stored_answer(request, stored.version, stored.body)


@router.patch(
    "/{project_id}",
    response_model=ProjectRead,
    responses={**problems(401, 403, 404, 409, 412, 413, 415, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def edit_project(
    mine: CanWrite, project_id: ProjectId, patch: ProjectPatch, if_match: IfMatch = None
) -> Response:
    """Change the fields that are sent; leave the others as they are; null clears.

    Put into another by `parent_id`, it takes those in it along.
    """
    stored = await projects.edit(mine, project_id, patch, expected_versions(if_match))
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.post(
    "/{project_id}/move",
    response_model=ProjectRead,
    responses={**problems(401, 403, 404, 412, 413, 415, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def move_project(mine: CanWrite, project_id: ProjectId, to: Move, if_match: IfMatch = None) -> Response:
    """Move a project in the order by hand: right behind another, or right before it."""
    stored = await moving.move(mine, PROJECT, projects.place, project_id, to, expected_versions(if_match))
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.delete(
    "/{project_id}",
    status_code=204,
    responses=problems(401, 403, 404, 409, 412, 422),
    openapi_extra=documented(ProjectDelete),
)
async def delete_project(mine: CanWrite, project_id: ProjectId, request: Request, if_match: IfMatch = None) -> Response:
    """Put a project into the trash, with the projects in it.

    Where there are tasks in them, `tasks` says what becomes of these; without it, that is a 409 and nothing changes.
    """
    asked = asked_of(request, ProjectDelete)
    await trash.remove_project(mine, project_id, asked.tasks, expected_versions(if_match))
    return Response(status_code=204)
