"""What other services look for under /.well-known (RFC 8615)."""

import json

from fastapi import APIRouter, Response

from backend.deps import NO_PARAMETERS, TheState
from backend.routers.answers import json_answer, problems
from backend.services import keys

router = APIRouter(prefix="/.well-known", tags=["Signing in"], dependencies=NO_PARAMETERS)


@router.get("/jwks.json", responses=problems())
async def signing_keys(state: TheState) -> Response:
    """The public keys of the access tokens (RFC 7517); none while they are signed with a secret (HS256).

    With the next one two minutes before it signs: an answer may be kept for one.
    """
    ring = await keys.current(state)
    shown = [key.public() for key in ring.accepted()] if ring.algorithm == "ES256" else []
    return json_answer(json.dumps({"keys": shown}), headers={"Cache-Control": "public, max-age=60"})
