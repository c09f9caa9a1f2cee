"""Where one is signed in."""

import json
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.deps import NO_PARAMETERS, CanManage, Fresh, From, TheRecognition, TheState
from backend.routers.answers import items_of, json_answer, problems
from backend.schemas.accounts import Ended, Sessions
from backend.schemas.scalars import Id
from backend.services import sessions

router = APIRouter(prefix="/v1/me/sessions", tags=["Your account"], dependencies=NO_PARAMETERS)
SessionId = Annotated[Id, Path(examples=["01997f3e-2222-7c31-9d04-8b1f6f1c2a55"])]


@router.get("", response_model=Sessions, responses=problems(401, 403))
async def list_sessions(mine: CanManage, state: TheState) -> Response:
    """Where you are signed in: at most 100 sessions, and one more ends the one that was used longest ago."""
    return json_answer(items_of(await sessions.mine_now(mine, timedelta(days=state.settings.refresh_idle_days))))


@router.delete("", response_model=Ended, responses=problems(401, 403))
async def end_other_sessions(mine: Fresh, recognition: TheRecognition, caller: From) -> Response:
    """End all sessions but this one: their refresh tokens at once, their access tokens within 10 seconds.

    The sign-in that asks must not be older than 15 minutes; `POST /v1/auth/logout` ends its own at any time.
    """
    ended = await sessions.end_others(mine, caller)
    recognition.forget_user(mine.user_id)
    return json_answer(json.dumps({"ended": ended}))


@router.delete("/{session_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def end_session(mine: Fresh, session_id: SessionId, recognition: TheRecognition, caller: From) -> Response:
    """End a session: its refresh tokens at once, its access tokens within 10 seconds."""
    await sessions.end(mine, session_id, caller)
    recognition.forget(session_id)
    return Response(status_code=204)
