"""Webhooks: addresses that are told of changes."""

import json
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from backend.deps import NO_PARAMETERS, CanManage, CanRead, Fresh, From, TheState, asked_of, documented
from backend.routers.answers import items_of, json_answer, problems, with_headers
from backend.schemas.lists import Walked
from backend.schemas.scalars import Id
from backend.schemas.webhooks import (
    Deliveries,
    DeliveryListed,
    DeliveryRead,
    Message,
    NewSecret,
    SecretRenewal,
    WebhookCreate,
    WebhookCreated,
    WebhookPatch,
    WebhookRead,
    Webhooks,
)
from backend.services import webhook_log, webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])
outgoing = APIRouter(tags=["Webhooks"])
"""What is sent, for the OpenAPI alone."""

EXAMPLE_ID = "01997f3e-5a2b-7c31-9d04-8b1f6f1c2aa2"


@outgoing.post("message", status_code=204)
def message(
    said: Message,
    webhook_id: Annotated[str, Header(description="The same at each try.", examples=[EXAMPLE_ID])],
    webhook_timestamp: Annotated[
        str, Header(description="Of this try, in seconds since 1970.", examples=["1795335451"])
    ],
    webhook_signature: Annotated[
        str,
        Header(description="HMAC-SHA256 in base64 behind `v1,`; two with a space between while a secret is renewed."),
    ],
) -> None:
    """A change, posted to the URL of a webhook and signed (Standard Webhooks). 2xx takes it; docs/webhooks.md."""


WebhookId = Annotated[Id, Path(examples=["01997f3e-5a2b-7c31-9d04-8b1f6f1c2aa1"])]
DeliveryId = Annotated[Id, Path(examples=[EXAMPLE_ID])]
SHOWN_ONCE = {"Cache-Control": "no-store"}


@router.get("", response_model=Webhooks, responses=problems(401, 403, 422), dependencies=NO_PARAMETERS)
async def list_webhooks(mine: CanManage) -> Response:
    """List your webhooks, without their secrets."""
    return json_answer(items_of(await webhooks.mine_now(mine)))


@router.post(
    "",
    status_code=201,
    response_model=WebhookCreated,
    responses={**problems(401, 403, 409, 413, 415, 422, 501), 201: with_headers("Location")},
    dependencies=NO_PARAMETERS,
)
async def create_webhook(mine: Fresh, state: TheState, wanted: WebhookCreate, caller: From) -> Response:
    """Have an address told of your changes, from now on: at most 10.

    Each message is a POST, signed with the secret as Standard Webhooks has it; 2xx takes it. They come in order, and
    one that was not taken is sent again until it is. The sign-in must not be older than 15 minutes.
    """
    hook_id, secret, rest = await webhooks.create(state, mine, wanted, caller)
    shown = json.dumps({**json.loads(rest), "secret": secret}, ensure_ascii=False)
    return json_answer(shown, 201, {"Location": f"/v1/webhooks/{hook_id}", **SHOWN_ONCE})


@router.get(
    "/{webhook_id}", response_model=WebhookRead, responses=problems(401, 403, 404, 422), dependencies=NO_PARAMETERS
)
async def read_webhook(mine: CanManage, webhook_id: WebhookId) -> Response:
    """Read a webhook, without its secret."""
    return json_answer(await webhooks.read(mine, webhook_id))


@router.patch(
    "/{webhook_id}",
    response_model=WebhookRead,
    responses=problems(401, 403, 404, 413, 415, 422, 501),
    dependencies=NO_PARAMETERS,
)
async def edit_webhook(
    mine: Fresh, state: TheState, webhook_id: WebhookId, patch: WebhookPatch, caller: From
) -> Response:
    """Change the fields that are sent, or switch it off and on.

    On again, it is told of what changed in between, each row once, and first of what waited. The sign-in must not be
    older than 15 minutes.
    """
    return json_answer(await webhooks.edit(state, mine, webhook_id, patch, caller))


@router.delete("/{webhook_id}", status_code=204, responses=problems(401, 403, 404, 422), dependencies=NO_PARAMETERS)
async def delete_webhook(mine: CanManage, webhook_id: WebhookId, caller: From) -> Response:
    """Delete a webhook, and what waits for it. A message that is on its way may still arrive."""
    await webhooks.remove(mine, webhook_id, caller)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/secret",
    response_model=NewSecret,
    responses=problems(401, 403, 404, 413, 415, 422),
    dependencies=NO_PARAMETERS,
)
async def renew_secret(
    mine: Fresh, state: TheState, webhook_id: WebhookId, caller: From, wanted: SecretRenewal | None = None
) -> Response:
    """Sign with another secret. For 24 hours each message has two signatures, the former's too.

    A body is needed only to bring the secret. Renewed once more, the first is former no longer.

    The sign-in must not be older than 15 minutes.
    """
    secret, until = await webhooks.renew(state, mine, webhook_id, wanted.secret if wanted else None, caller)
    return json_answer(json.dumps({"secret": secret, "former_until": until}), headers=SHOWN_ONCE)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    response_model=DeliveryListed,
    responses=problems(401, 403, 404, 409, 422, 501),
    dependencies=NO_PARAMETERS,
)
async def test_webhook(mine: CanManage, state: TheState, webhook_id: WebhookId) -> Response:
    """Send a message of the type `test`, behind what waits already. Whatever waits is tried at once."""
    webhooks.check_offered(state.settings)
    return json_answer(await webhook_log.test(mine, webhook_id), 202)


@router.get(
    "/{webhook_id}/deliveries",
    response_model=Deliveries,
    responses=problems(401, 403, 404, 422),
    openapi_extra=documented(Walked),
)
async def list_deliveries(mine: CanManage, webhook_id: WebhookId, request: Request) -> Response:
    """What was delivered and what waits, newest first: of the last week, and at most the last 200."""
    items, following = await webhook_log.newest(mine, webhook_id, asked_of(request, Walked))
    return json_answer(items_of(items, next_cursor=json.dumps(following)))


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    response_model=DeliveryRead,
    responses=problems(401, 403, 404, 422),
    dependencies=NO_PARAMETERS,
)
async def read_delivery(
    mine: CanManage, _tasks_too: CanRead, webhook_id: WebhookId, delivery_id: DeliveryId
) -> Response:
    """Read a delivery, with what is sent: the rows themselves."""
    return json_answer(await webhook_log.read(mine, webhook_id, delivery_id))


@router.delete(
    "/{webhook_id}/deliveries/{delivery_id}",
    status_code=204,
    responses=problems(401, 403, 404, 422),
    dependencies=NO_PARAMETERS,
)
async def delete_delivery(mine: CanManage, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    """Take a message out of the log. One that waits is then not sent, and those behind it are."""
    await webhook_log.remove(mine, webhook_id, delivery_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryListed,
    responses=problems(401, 403, 404, 422, 501),
    dependencies=NO_PARAMETERS,
)
async def redeliver(mine: CanManage, state: TheState, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    """Send it once more, with the same `webhook-id`, before what waits and at once; where it is off, once it is on."""
    webhooks.check_offered(state.settings)
    return json_answer(await webhook_log.again(mine, webhook_id, delivery_id), 202)
