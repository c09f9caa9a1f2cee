"""Personal access tokens."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.deps import NO_PARAMETERS, CanManage, Fresh, From, TheRecognition
from backend.routers.answers import items_of, json_answer, problems, with_headers
from backend.schemas.access_tokens import AccessTokenCreate, AccessTokenCreated, AccessTokens
from backend.schemas.scalars import Id
from backend.services import access_tokens

router = APIRouter(prefix="/v1/me/tokens", tags=["Your account"], dependencies=NO_PARAMETERS)
TokenId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a99"])]


@router.get("", response_model=AccessTokens, responses=problems(401, 403))
async def list_tokens(mine: CanManage) -> Response:
    """List your personal access tokens, without the tokens themselves."""
    return json_answer(items_of(await access_tokens.mine_now(mine)))


@router.post(
    "",
    status_code=201,
    response_model=AccessTokenCreated,
    responses={**problems(401, 403, 409, 413, 415, 422), 201: with_headers("Location")},
)
async def create_token(mine: Fresh, wanted: AccessTokenCreate, caller: From) -> Response:
    """Make a personal access token, for a program that acts for you: at most 50.

    Sent as `Authorization: Bearer …`, like an access token. It is shown in this answer alone. The sign-in
    must not be older than 15 minutes, and a personal access token cannot make another.
    """
    token_id, token, rest = await access_tokens.create(mine, wanted, caller)
    shown = json.dumps({**json.loads(rest), "token": token}, ensure_ascii=False)
    return json_answer(shown, 201, {"Location": f"/v1/me/tokens/{token_id}", "Cache-Control": "no-store"})


@router.delete("/{token_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def revoke_token(mine: CanManage, token_id: TokenId, recognition: TheRecognition, caller: From) -> Response:
    """Revoke a personal access token; within 10 seconds nothing believes it any more."""
    await access_tokens.revoke(mine, token_id, caller)
    recognition.forget(token_id)
    return Response(status_code=204)
