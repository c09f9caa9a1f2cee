"""Signing in elsewhere: OpenID Connect, by authorization code with PKCE."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.deps import NO_PARAMETERS, CanManage, Fresh, From, TheState
from backend.routers.answers import items_of, json_answer, problems
from backend.routers.auth import pair
from backend.schemas.accounts import TokenPair
from backend.schemas.outside import (
    ComeBack,
    Identities,
    IdentityLink,
    IdentityRead,
    OutsideBegin,
    OutsideBegun,
    Providers,
)
from backend.schemas.scalars import Id
from backend.services import identities, keys

router = APIRouter(prefix="/v1", tags=["Signing in elsewhere"], dependencies=NO_PARAMETERS)
ProviderName = Annotated[str, Path(max_length=32, examples=["google"])]
IdentityId = Annotated[Id, Path(examples=["01997f3e-3333-7c31-9d04-8b1f6f1c2a55"])]


@router.get("/auth/outside", response_model=Providers, responses=problems())
async def list_providers(state: TheState) -> Response:
    """Which providers one may sign in with."""
    return json_answer(json.dumps({"items": state.outside.providers}))


@router.post("/auth/outside/{provider}", response_model=OutsideBegun, responses=problems(404, 413, 415, 422, 429))
async def begin_outside(provider: ProviderName, wanted: OutsideBegin, state: TheState, caller: From) -> Response:
    """Begin to sign in with a provider: where to send the browser, and the `flow` to keep until it comes back."""
    url, flow = await identities.begin(state, provider, wanted, caller)
    return json_answer(json.dumps({"authorization_url": url, "flow": flow}))


@router.post(
    "/auth/outside/{provider}/finish",
    response_model=TokenPair,
    responses=problems(401, 403, 404, 409, 413, 415, 422, 429),
)
async def finish_outside(provider: ProviderName, back: ComeBack, state: TheState, caller: From) -> Response:
    """Sign in with what came back. The first time, an account is opened for the address that the provider vouches for.

    An address that has an account already is a 409: sign in to it and link the identity, since nobody is let in by
    an address alone. Where a second factor is on, the answer is a 401 with a `challenge`, as with a password.
    """
    return pair(await keys.current(state), await identities.finish(state, provider, back, caller))


@router.get("/me/identities", response_model=Identities, responses=problems(401, 403))
async def list_identities(mine: CanManage) -> Response:
    """List the identities elsewhere that your account is signed in to with."""
    return json_answer(items_of(await identities.mine_now(mine)))


@router.post(
    "/me/identities",
    status_code=201,
    response_model=IdentityRead,
    responses=problems(401, 403, 404, 409, 413, 415, 422, 429),
)
async def link_identity(mine: Fresh, back: IdentityLink, state: TheState, caller: From) -> Response:
    """Link an identity elsewhere to your account, with what came back from the provider.

    The sign-in that asks must not be older than 15 minutes.
    """
    _, body = await identities.link(mine, state, back.provider, back, caller)
    return json_answer(body, 201)


@router.delete("/me/identities/{identity_id}", status_code=204, responses=problems(401, 403, 404, 409, 422))
async def unlink_identity(mine: Fresh, identity_id: IdentityId, caller: From) -> Response:
    """Unlink an identity, unless it is the only way to sign in. The sign-in must not be older than 15 minutes."""
    await identities.unlink(mine, identity_id, caller)
    return Response(status_code=204)
