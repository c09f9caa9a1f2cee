"""A second factor beside the password."""

import json

from fastapi import APIRouter, Response

from backend.deps import NO_PARAMETERS, CanManage, Fresh, From, TheState
from backend.routers.answers import json_answer, problems
from backend.schemas.accounts import Code, RecoveryCodes, SecondFactorBegun, SecondFactorRead
from backend.services import account_changes, second_factors
from backend.services.accounts import contact_of

router = APIRouter(prefix="/v1/me/second-factor", tags=["Your account"], dependencies=NO_PARAMETERS)


@router.get("", response_model=SecondFactorRead, responses=problems(401, 403))
async def read_second_factor(mine: CanManage) -> Response:
    """Whether a second factor is on, and how many recovery codes are left."""
    return json_answer(await second_factors.shown(mine))


@router.post("", status_code=201, response_model=SecondFactorBegun, responses=problems(401, 403, 409))
async def begin_second_factor(mine: Fresh, state: TheState) -> Response:
    """Make a secret for an authenticator app (TOTP). It counts when a code of it was confirmed.

    This and what else changes a second factor asks for a sign-in of the last 15 minutes.
    """
    secret, uri = await second_factors.begin(mine, state.seal, (await contact_of(mine)).email)
    return json_answer(json.dumps({"secret": secret, "uri": uri}), 201)


@router.post("/confirm", response_model=RecoveryCodes, responses=problems(401, 403, 409, 413, 415, 422, 429))
async def confirm_second_factor(mine: Fresh, sent: Code, state: TheState, caller: From) -> Response:
    """Turn the second factor on with a code of the app. The answer has ten recovery codes, shown once.

    From now on `POST /v1/auth/token` answers a right password with a 401 that has a `challenge`, and
    `POST /v1/auth/second-factor` takes it with a code.
    """
    codes = await second_factors.confirm(mine, state, sent.code, caller)
    state.later.start(account_changes.tell_of_second_factor(mine, state, on=True))
    return json_answer(json.dumps({"recovery_codes": codes}))


@router.post("/recovery-codes", response_model=RecoveryCodes, responses=problems(401, 403, 404))
async def renew_recovery_codes(mine: Fresh, caller: From) -> Response:
    """Make ten new recovery codes in place of those that are left."""
    return json_answer(json.dumps({"recovery_codes": await second_factors.renew_codes(mine, caller)}))


@router.delete("", status_code=204, responses=problems(401, 403, 404))
async def turn_second_factor_off(mine: Fresh, state: TheState, caller: From) -> Response:
    """Turn the second factor off."""
    await second_factors.turn_off(mine, caller)
    state.later.start(account_changes.tell_of_second_factor(mine, state, on=False))
    return Response(status_code=204)
