"""Tags: listed, named anew, made one, coloured, taken away."""

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from backend.deps import CHANGE, NO_PARAMETERS, CanRead, CanWrite, asked_of, documented
from backend.routers.answers import items_of, json_answer, problems, with_headers
from backend.schemas.filters import TagFilter
from backend.schemas.scalars import Tag
from backend.schemas.tags import TagChanged, TagMerge, TagPatch, TagRename, Tags
from backend.schemas.tasks import Updated
from backend.services import tags


class _Name(StringConvertor):
    """The rest of the path: a tag may have slashes and line breaks, which arrive here decoded."""

    regex = r"[\s\S]+"


register_url_convertor("tag", _Name())

router = APIRouter(prefix="/v1/tags", tags=["Tags"])
Named = Annotated[Tag, Path(description="Percent-encoded, slashes too.", examples=["home"])]


@router.get(
    "",
    response_model=Tags,
    responses={**problems(401, 403, 422), 200: with_headers("Tend-Change")},
    openapi_extra=documented(TagFilter, CHANGE),
)
async def list_tags(mine: CanRead, request: Request) -> Response:
    """List the tags of your tasks with how many have each, most used first.

    A tag that no task has any more is listed as long as it has a colour.
    """
    items, following = await tags.listed(mine, asked_of(request, TagFilter))
    return json_answer(items_of(items, **({"next_cursor": json.dumps(following)} if following else {})))


@router.post(
    "/merge",
    response_model=TagChanged,
    responses=problems(401, 403, 404, 413, 415, 422),
    dependencies=NO_PARAMETERS,
)
async def merge_tags(mine: CanWrite, wanted: TagMerge) -> Response:
    """Make up to 20 tags one, in all your tasks: all or none.

    A task that had several of them has the one in the first of their places. The one's colour stays; where it has
    none, it gets that of the first that has one. With a single tag and a new name, this renames.
    """
    return _changed(await tags.merge(mine, wanted))


@router.patch(
    "/{tag:tag}",
    response_model=TagChanged,
    responses=problems(401, 403, 404, 409, 413, 415, 422),
    openapi_extra=documented(TagRename),
)
async def edit_tag(mine: CanWrite, tag: Named, patch: TagPatch, request: Request) -> Response:
    """Rename a tag in all your tasks, colour it, or both.

    A name that is another tag's already is a 409, unless `merge` says that the two become one. Saved filters
    stay as they were written.
    """
    return _changed(await tags.edit(mine, tag, patch, asked_of(request, TagRename).merge))


@router.delete(
    "/{tag:tag}",
    response_model=Updated,
    responses=problems(401, 403, 404, 422),
    dependencies=NO_PARAMETERS,
)
async def delete_tag(mine: CanWrite, tag: Named) -> Response:
    """Take a tag off all your tasks, and forget its colour. The tasks stay."""
    return json_answer(f'{{"updated":{await tags.remove(mine, tag)}}}')


def _changed(changed: tags.Changed) -> Response:
    return json_answer(json.dumps(asdict(changed), ensure_ascii=False, separators=(",", ":")))
