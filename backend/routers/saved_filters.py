"""Saved filters: texts of the filter language, kept under a name."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from backend.deps import NO_PARAMETERS, CanRead, CanWrite, IfMatch, asked_of, documented, expected_versions
from backend.routers.answers import etag, items_of, json_answer, problems, stored_answer, with_headers
from backend.schemas.lists import Walked
from backend.schemas.saved_filters import (
    SavedFilterCreate,
    SavedFilterPatch,
    SavedFilterRead,
    SavedFilters,
)
from backend.schemas.scalars import Id
from backend.services import saved_filters

router = APIRouter(prefix="/v1/filters", tags=["Saved filters"])
FilterId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a77"])]


@router.get("", response_model=SavedFilters, responses=problems(401, 403, 422), openapi_extra=documented(Walked))
async def list_filters(mine: CanRead, request: Request) -> Response:
    """List your saved filters by name, without regard to case and accents."""
    items, following = await saved_filters.by_name(mine, asked_of(request, Walked))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.post(
    "",
    status_code=201,
    response_model=SavedFilterRead,
    responses={**problems(401, 403, 409, 413, 415, 422), 201: with_headers("ETag", "Location")},
    dependencies=NO_PARAMETERS,
)
async def create_filter(mine: CanWrite, wanted: SavedFilterCreate) -> Response:
    """Save a filter under a name.

    It is read now, and refused in the words of `GET /v1/tasks?filter=`; but kept as it was written and
    read anew whenever it is asked for with `GET /v1/tasks?saved=`: `due:today` is that day.
    """
    filter_id, stored = await saved_filters.create(mine, wanted)
    headers = {"Location": f"/v1/filters/{filter_id}", "ETag": etag(stored.version)}
    return json_answer(stored.body, 201, headers)


@router.get(
    "/{filter_id}",
    response_model=SavedFilterRead,
    responses={**problems(304, 401, 403, 404, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def read_filter(mine: CanRead, filter_id: FilterId, request: Request) -> Response:
    """Read a saved filter. With `If-None-Match`, one that has not changed is a 304 without a body."""
    stored = await saved_filters.read(mine, filter_id)
    return stored_answer(request, stored.version, stored.body)


@router.patch(
    "/{filter_id}",
    response_model=SavedFilterRead,
    responses={**problems(401, 403, 404, 409, 412, 413, 415, 422), 200: with_headers("ETag")},
    dependencies=NO_PARAMETERS,
)
async def edit_filter(
    mine: CanWrite, filter_id: FilterId, patch: SavedFilterPatch, if_match: IfMatch = None
) -> Response:
    """Change the fields that are sent; leave the others as they are; null clears.

    A walk by cursor through its tasks has to begin again, unless the filter says the same as before.
    """
    stored = await saved_filters.edit(mine, filter_id, patch, expected_versions(if_match))
    return json_answer(stored.body, headers={"ETag": etag(stored.version)})


@router.delete("/{filter_id}", status_code=204, responses=problems(401, 403, 404, 412, 422), dependencies=NO_PARAMETERS)
async def delete_filter(mine: CanWrite, filter_id: FilterId, if_match: IfMatch = None) -> Response:
    """Delete a saved filter. Its name is free again; its tasks stay as they are."""
    await saved_filters.remove(mine, filter_id, expected_versions(if_match))
    return Response(status_code=204)
