"""Synchronisation: what a device did while it was away, and what it missed (docs/sync.md)."""

import json

from fastapi import APIRouter, Response

from backend.deps import NO_PARAMETERS, CanRead
from backend.errors import NotAllowed
from backend.routers.answers import json_answer, problems
from backend.schemas.sync import SyncAnswer, SyncRequest
from backend.services import pulling, pushing

router = APIRouter(prefix="/v1/sync", tags=["Sync"])


@router.post(
    "", response_model=SyncAnswer, responses=problems(401, 403, 409, 413, 415, 422), dependencies=NO_PARAMETERS
)
async def synchronise(mine: CanRead, request: SyncRequest) -> Response:
    """Have a device's operations done, each once, and hear what else has changed.

    Sent again, as often as need be, a request's operations are not done again: their results are told again. A token
    for `tasks:read` alone is enough for whoever sends none.
    """
    if request.operations and "tasks:write" not in mine.scopes:
        raise NotAllowed("This token is not one for `tasks:write`.", scope="tasks:write")
    position = pulling.unsealed(mine, request.cursor) if request.cursor else None
    done = await pushing.push(mine, request, position)
    page = await pulling.pull(mine, request.client_id, position, request.limit, request.ack)
    said = {
        "changes_applied": sum(each["status"] == "applied" for each in done),
        "results": [{name: each[name] for name in ("n", "status", "error")} for each in done],
        "conflicts": [conflict for each in done for conflict in each["conflicts"]],
        "cursor": pulling.sealed(mine, page.position),
        "has_more": page.has_more,
        "reset": page.reset,
        "last_n": page.last_n,
        "server_time": page.server_time,
    }
    # The rows are JSON already.
    return json_answer(
        f'{json.dumps(said, ensure_ascii=False, separators=(",", ":"))[:-1]},"changes":[{",".join(page.changes)}]}}'
    )
