"""What is done by mail: confirming an address, and choosing a new password."""

from fastapi import APIRouter, Response

from backend.deps import NO_PARAMETERS, From, TheRecognition, TheState
from backend.routers.answers import problems
from backend.schemas.accounts import MailedToken, MailWanted, PasswordReset
from backend.services import confirmations, throttles
from backend.services.throttles import Try

router = APIRouter(prefix="/v1/auth", tags=["Signing in"], dependencies=NO_PARAMETERS)


@router.post("/verify-email", status_code=202, response_class=Response, responses=problems(413, 415, 422, 429, 501))
async def ask_to_verify_email(state: TheState, wanted: MailWanted, caller: From) -> Response:
    """Have a token mailed that confirms the address of an account, good for a day.

    The answer is the same whether there is such an account or not, and whether it is confirmed already.
    """
    await confirmations.ask(state, "verify", wanted.email, caller)
    return Response(status_code=202)


@router.post("/verify-email/confirm", status_code=204, responses=problems(409, 413, 415, 422, 429))
async def verify_email(state: TheState, sent: MailedToken, caller: From) -> Response:
    """Confirm an address with the token that was mailed there. It is good once."""
    await throttles.take(state.database, Try(throttles.CONFIRM, (caller.address,)))
    await confirmations.confirm_email(state, sent.token, caller)
    return Response(status_code=204)


@router.post("/password-reset", status_code=202, response_class=Response, responses=problems(413, 415, 422, 429, 501))
async def ask_for_new_password(state: TheState, wanted: MailWanted, caller: From) -> Response:
    """Have a token mailed with which a new password can be chosen, good for an hour.

    The answer is the same, after the same time, whether there is such an account or not.
    """
    await confirmations.ask(state, "reset", wanted.email, caller)
    return Response(status_code=202)


@router.post("/password-reset/confirm", status_code=204, responses=problems(413, 415, 422, 429))
async def choose_new_password(
    state: TheState, sent: PasswordReset, recognition: TheRecognition, caller: From
) -> Response:
    """Choose a new password with the token that was mailed. It is good once.

    All sign-ins, personal tokens and identities elsewhere of the account end: whoever had got in is out. A second
    factor stays on.
    """
    await throttles.take(state.database, Try(throttles.CONFIRM, (caller.address,)))
    recognition.forget_user(await confirmations.reset_password(state, sent, caller))
    return Response(status_code=204)
