"""Comments on a task."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from backend.deps import NO_PARAMETERS, CanRead, CanWrite, IfMatch, asked_of, documented, expected_versions
from backend.routers.answers import etag, items_of, json_answer, problems, stored_answer, with_headers
from backend.schemas.comments import CommentCreate, CommentList, CommentPatch, CommentRead, Comments
from backend.schemas.scalars import Id
from backend.services import comments

router = APIRouter(prefix="/v1/tasks/{task_id}/comments", tags=["Comments"])
TaskId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"])]
CommentId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a88"])]


@router.get("", response_model=Comments, responses=problems(401, 403, 404, 422), openapi_extra=documented(CommentList))
async def list_comments(mine: CanRead, task_id: TaskId, request: Request) -> Response:
    """List the comments on a task, oldest first."""
    items, following = await comments.of(mine, task_id, asked_of(request, CommentList))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.post(
    "",
    status_code=201,
    response_model=CommentRead,
    responses={**problems(401, 403, 404, 409, 413, 415, 422), 201: with_headers("ETag", "Location")},
    dependencies=NO_PARAMETERS,
)
async def create_comment(mine: CanWrite, task_id: TaskId, comment: CommentCreate) -> Response:
    """Write a comment on a task.

    A search finds the task by it. The task itself stays as it is, its version included.
    """
    comment_id, stored = await comments.create(mine, task_id, comment)
    headers = {"Location": f"/v1/tasks/{task_id}/comments/{comment_id}", "ETag": etag(stored.version)}
    return json_answer(stored.body, 201, headers)


@router.get(
    "/{comment_id}",
    response_model=CommentRead,
    responses={**problems(304, 401, 403, 404, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def read_comment(mine: CanRead, task_id: TaskId, comment_id: CommentId, request: Request) -> Response:
    """Read a comment. With `If-None-Match`, one that has not changed is a 304 without a body."""
    stored = await comments.read(mine, task_id, comment_id)
    return stored_answer(request, stored.version, stored.body)


@router.patch(
    "/{comment_id}",
    response_model=CommentRead,
    responses={**problems(401, 403, 404, 412, 413, 415, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def edit_comment(
    mine: CanWrite, task_id: TaskId, comment_id: CommentId, patch: CommentPatch, if_match: IfMatch = None
) -> Response:
    """Change what a comment says."""
    stored = await comments.edit(mine, task_id, comment_id, patch, expected_versions(if_match))
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.delete(
    "/{comment_id}",
    status_code=204,
    responses=problems(401, 403, 404, 412, 422),
    dependencies=NO_PARAMETERS,
)
async def delete_comment(mine: CanWrite, task_id: TaskId, comment_id: CommentId, if_match: IfMatch = None) -> Response:
    """Delete a comment."""
    await comments.remove(mine, task_id, comment_id, expected_versions(if_match))
    return Response(status_code=204)
