"""Accounts, first part: register, sign in, stay signed in, sign out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Response

from backend.deps import NO_PARAMETERS, Mine, State, TheState
from backend.routers.answers import json_answer, problems
from backend.schemas.accounts import Account, Refresh, Register, TokenForm, TokenPair
from backend.services import accounts

router = APIRouter(prefix="/v1/auth", tags=["Accounts"], dependencies=NO_PARAMETERS)
me_router = APIRouter(prefix="/v1/me", tags=["Accounts"], dependencies=NO_PARAMETERS)


@router.post("/register", status_code=201, response_model=Account, responses=problems(409, 413, 415, 422))
async def register(state: TheState, wanted: Register) -> Response:
    """Open an account. An address that has one already is a 409."""
    return json_answer(await accounts.register(state.database, wanted), 201)


@router.post("/token", response_model=TokenPair, responses=problems(401, 413, 415, 422))
async def sign_in(state: TheState, form: Annotated[TokenForm, Form()]) -> Response:
    """Sign in with address and password: the OAuth2 form, as Swagger's Authorize button sends it.

    Whatever was wrong, the answer is the same 401 after the same time.
    """
    lifetime = timedelta(days=state.settings.refresh_max_days)
    return _pair(state, await accounts.sign_in(state.database, form.username, form.password, lifetime))


@router.post("/refresh", response_model=TokenPair, responses=problems(401, 413, 415, 422))
async def refresh(state: TheState, sent: Refresh) -> Response:
    """Exchange a refresh token for a new pair.

    A token that comes back after it was used ends the whole sign-in: it was stolen, from you or by you.
    Only the one just before is forgiven for 10 seconds, and brings the same successor, in case the
    answer was lost.
    """
    token = sent.refresh_token
    idle = timedelta(days=state.settings.refresh_idle_days)
    return _pair(state, await accounts.refresh(state.database, token, state.keys.successor(token), idle))


@router.post("/logout", status_code=204, responses=problems(401))
async def sign_out(state: TheState, mine: Mine) -> Response:
    """End this sign-in: its refresh tokens at once, its access tokens within 10 seconds."""
    await accounts.sign_out(mine)
    state.forget(mine.session_id)
    return Response(status_code=204)


@me_router.get("", response_model=Account, responses=problems(401))
async def me(mine: Mine) -> Response:
    """Who you are."""
    return json_answer(await accounts.me(mine))


def _pair(state: State, signed_in: accounts.SignedIn) -> Response:
    pair = TokenPair(
        access_token=state.keys.access_token(*signed_in[:4]),
        refresh_token=signed_in.refresh_token,
        expires_in=state.keys.lifetime,
    )
    return json_answer(pair.model_dump_json(), headers={"Cache-Control": "no-store"})
