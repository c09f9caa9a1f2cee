"""Whether it lives, and whether it can be used."""

from fastapi import APIRouter, Response

from backend.deps import NO_PARAMETERS, TheState
from backend.errors import Unavailable
from backend.models import SCHEMA_VERSION
from backend.routers.answers import json_answer, problems
from backend.services import health, keys

router = APIRouter(prefix="/health", tags=["Health"], dependencies=NO_PARAMETERS)


@router.get("/live", responses=problems(422))
async def live() -> Response:
    """200 as long as the process serves. Touches no database, so that a sleeping one stays asleep."""
    return json_answer('{"status":"ok"}')


@router.get("/ready", responses=problems(422))
async def ready(state: TheState) -> Response:
    """200 when the database answers, is at this code's migration, and its signing keys open; else 503, saying which."""
    found = await health.migration(state.database)
    if found != SCHEMA_VERSION:
        raise Unavailable(
            f"The database is at migration {found or 'none'}, this code needs {SCHEMA_VERSION}: run `tend migrate`.",
            retry_after=10,
        )
    await keys.current(state)
    return json_answer(f'{{"status":"ok","migration":"{found}"}}')
