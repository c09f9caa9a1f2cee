"""One's own account: who one is, what happened to it, and its end."""

import json

from fastapi import APIRouter, Request, Response

from backend.deps import (
    NO_PARAMETERS,
    CanManage,
    Fresh,
    From,
    InPerson,
    TheRecognition,
    TheState,
    asked_of,
    documented,
)
from backend.routers.answers import items_of, json_answer, problems
from backend.schemas.accounts import (
    Account,
    AccountPatch,
    AuditEvents,
    AuditFilter,
    EmailChange,
    Ending,
    PasswordChange,
)
from backend.services import account_changes, accounts, audit

router = APIRouter(prefix="/v1/me", tags=["Your account"])


@router.get("", response_model=Account, responses=problems(401, 403), dependencies=NO_PARAMETERS)
async def me(mine: CanManage) -> Response:
    """Who you are."""
    return json_answer(await accounts.me(mine))


@router.patch("", response_model=Account, responses=problems(401, 403, 413, 415, 422, 429), dependencies=NO_PARAMETERS)
async def edit_me(
    mine: CanManage, patch: AccountPatch, recognition: TheRecognition, state: TheState, caller: From
) -> Response:
    """Change the fields that are sent; leave the others as they are.

    Time zone and language hold for every device within 10 seconds. With another language all your tasks are indexed
    anew, which takes some seconds for tens of thousands; if it breaks off, send it again.
    """
    body = await account_changes.edit(mine, state, patch, caller)
    recognition.forget_user(mine.user_id)
    return json_answer(body)


@router.delete("", status_code=202, response_model=Ending, responses=problems(401, 403), dependencies=NO_PARAMETERS)
async def end_me(mine: Fresh, recognition: TheRecognition, state: TheState, caller: From) -> Response:
    """Delete the account, and everything of yours with it, when its time of grace is over.

    All sign-ins end now, and tokens stop. Whoever signs in again before `ends_at` keeps everything. The sign-in
    that asks must not be older than 15 minutes.
    """
    body = await account_changes.end(mine, state, caller)
    recognition.forget_user(mine.user_id)
    return json_answer(body, 202)


@router.post(
    "/email",
    status_code=202,
    response_class=Response,
    responses=problems(401, 403, 413, 415, 422, 429, 501),
    dependencies=NO_PARAMETERS,
)
async def change_email(mine: Fresh, wanted: EmailChange, state: TheState, caller: From) -> Response:
    """Take another address: a token goes there, and the address is yours when it is confirmed.

    `POST /v1/auth/verify-email/confirm` takes the token. Until then nothing changes. The sign-in that asks must not
    be older than 15 minutes.
    """
    await account_changes.change_email(mine, state, wanted.email, caller)
    return Response(status_code=202)


@router.post("/password", status_code=204, responses=problems(401, 403, 413, 415, 422, 429), dependencies=NO_PARAMETERS)
async def change_password(
    mine: InPerson, wanted: PasswordChange, state: TheState, recognition: TheRecognition, caller: From
) -> Response:
    """Change the password. Your other sessions end; this one goes on, and so do your personal tokens.

    A wrong `current_password` is a 403, and after ten of them in 15 minutes a 429.
    """
    await account_changes.change_password(mine, state, wanted, caller)
    recognition.forget_user(mine.user_id)
    return Response(status_code=204)


@router.get(
    "/audit", response_model=AuditEvents, responses=problems(401, 403, 422), openapi_extra=documented(AuditFilter)
)
async def read_audit(mine: CanManage, request: Request) -> Response:
    """What happened to your account: sign-ins and failures, tokens, passwords; of the last year."""
    asked = asked_of(request, AuditFilter)
    items, following = await audit.newest(mine, asked.limit, asked.cursor)
    return json_answer(items_of(items, next_cursor=json.dumps(following)))
