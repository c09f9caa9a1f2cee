"""Register, sign in, stay signed in, sign out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Response

from backend.deps import NO_PARAMETERS, From, InPerson, TheRecognition, TheState
from backend.routers.answers import json_answer, problems
from backend.schemas.accounts import Account, Refresh, Register, SecondFactorCode, TokenForm, TokenPair
from backend.security.tokens import Keys
from backend.services import account_changes, keys, refreshing, sessions, sign_in, throttles
from backend.services.sessions import SignedIn
from backend.services.throttles import Try

router = APIRouter(prefix="/v1/auth", tags=["Signing in"], dependencies=NO_PARAMETERS)


@router.post("/register", status_code=201, response_model=Account, responses=problems(409, 413, 415, 422, 429))
async def register(state: TheState, wanted: Register, caller: From) -> Response:
    """Open an account. An address that has one already is a 409.

    Where the server sends mail, a token to confirm the address goes out.
    """
    await throttles.take(state.database, Try(throttles.REGISTER, (caller.address,)))
    return json_answer(await account_changes.register(state, wanted, caller), 201)


@router.post("/token", response_model=TokenPair, responses=problems(401, 413, 415, 422, 429))
async def sign_in_with_password(state: TheState, form: Annotated[TokenForm, Form()], caller: From) -> Response:
    """Sign in with address and password: the OAuth2 form, as Swagger's Authorize button sends it.

    Whatever was wrong, the answer is the same 401 after the same time. Ten failures of an account from one
    address in 15 minutes are enough, and a hundred of all accounts: then it is a 429.
    """
    return pair(await keys.current(state), await sign_in.with_password(state, form, caller))


@router.post("/second-factor", response_model=TokenPair, responses=problems(401, 413, 415, 422, 429))
async def sign_in_with_code(state: TheState, sent: SecondFactorCode, caller: From) -> Response:
    """Sign in where a second factor is on: the `challenge` of the 401, good for five minutes, and a code.

    A code counts once. Ten wrong ones in 15 minutes are enough: then it is a 429.
    """
    return pair(await keys.current(state), await sign_in.with_code(state, sent, caller))


@router.post("/refresh", response_model=TokenPair, responses=problems(401, 413, 415, 422))
async def refresh(state: TheState, sent: Refresh, caller: From) -> Response:
    """Exchange a refresh token for a new pair.

    A token that comes back after it was used ends the whole sign-in: it was stolen, from you or by you.
    Only the one just before is forgiven for 10 seconds, and brings the same successor, in case the
    answer was lost.
    """
    token = sent.refresh_token
    idle = timedelta(days=state.settings.refresh_idle_days)
    ring = await keys.current(state)
    return pair(ring, await refreshing.refresh(state.database, token, ring.successor(token), idle, caller))


@router.post("/logout", status_code=204, responses=problems(401, 403))
async def sign_out(mine: InPerson, recognition: TheRecognition, caller: From) -> Response:
    """End this sign-in: its refresh tokens at once, its access tokens within 10 seconds."""
    await sessions.sign_out(mine, caller)
    recognition.forget(mine.session_id)
    return Response(status_code=204)


def pair(ring: Keys, signed_in: SignedIn) -> Response:
    """The ring is asked for before the sign-in: one that has none leaves no session behind, and no token used up."""
    tokens = TokenPair(
        access_token=ring.access_token(*signed_in[:5]),
        refresh_token=signed_in.refresh_token,
        expires_in=ring.lifetime,
    )
    return json_answer(tokens.model_dump_json(), headers={"Cache-Control": "no-store"})
