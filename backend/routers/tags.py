"""The tags in use."""

from fastapi import APIRouter, Request, Response

from backend.deps import CHANGE, CanRead, asked_of, documented
from backend.routers.answers import items_of, json_answer, problems, with_headers
from backend.schemas.filters import TagFilter
from backend.schemas.tasks import Tags
from backend.services import listing

router = APIRouter(prefix="/v1/tags", tags=["Tasks"])


@router.get(
    "",
    response_model=Tags,
    responses={**problems(401, 403, 422), 200: with_headers("Tend-Change")},
    openapi_extra=documented(TagFilter, CHANGE),
)
async def list_tags(mine: CanRead, request: Request) -> Response:
    """List the tags of your tasks with how many have each, most used first."""
    return json_answer(items_of(await listing.tags(mine, asked_of(request, TagFilter))))
