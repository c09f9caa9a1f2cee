"""Verbs on webhooks: addresses that are told of a user's changes. Who delivers is `delivering.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
    update,
)

from backend.config import Settings
from backend.db import Database
from backend.errors import Conflict, Invalid, NotFound, NotOffered
from backend.models import Webhook, WebhookDelivery, table
from backend.rules.addresses import is_reachable
from backend.schemas.webhooks import WebhookCreate, WebhookPatch, host_of
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.security.sealing import Seal
from backend.security.webhooks import new_secret
from backend.services import audit
from backend.services.audit import Caller, Event, noted
from backend.state import State
from backend.statements import CLOCK, COUNTER, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

HOOKS, DELIVERIES = table(Webhook), table(WebhookDelivery)
MOST: Final = 10
FORMER: Final = cast(literal_column("'24 hours'"), Interval())
PURPOSE: Final = "webhook"
ANEW: Final[Mapping[str, Any]] = {"failing_since": null(), "failures": literal_column("0"), "next_try_at": CLOCK}
"""As if it had never failed: what waits is tried at once."""
GIVEN: Final = ("id", "url", "events", "description", "secret")


async def create(state: State, mine: Scope, wanted: WebhookCreate, caller: Caller) -> tuple[UUID, str, str]:
    """Its id, its secret, and JSON of the rest. It is told of what changes from now on.

    Raises Invalid for an address that nothing is sent to, Conflict and NotOffered.
    """
    check_url(state.settings, wanted.url)
    secret, hook_id = wanted.secret or new_secret(), wanted.id or new_id()
    values: dict[str, Any] = {f"new_{name}": value for name, value in wanted.model_dump().items()}
    values |= {"new_id": hook_id, "new_secret": state.seal.close(PURPOSE, secret.encode())}
    event = Event("webhook_created", caller, {"webhook": str(hook_id), "host": host_of(wanted.url)})

    async def work(changing: Changing) -> str:
        rows = await changing.run(_create(), {**values, "in_told": changing.first, **event.values})
        if not rows:
            raise Conflict(f"There are {MOST} webhooks already. Delete those that are not needed.")
        return str(rows[0].body)

    made = await mine.change(work, at_most=1)  # in which nobody else writes: the number says what it was told of
    event.log(mine.user_id)
    return hook_id, secret, made


async def mine_now(mine: Scope) -> list[str]:
    """JSON, one a webhook, newest first."""
    return [row.body for row in await mine.read(_listed(), {})]


async def read(mine: Scope, hook_id: UUID) -> str:
    """JSON. Raises NotFound."""
    return _body(await mine.read(_one(), {"in_webhook": hook_id}))


async def edit(state: State, mine: Scope, hook_id: UUID, patch: WebhookPatch, caller: Caller) -> str:
    """JSON. Raises NotFound, Invalid and NotOffered. Switched on, or led elsewhere, it is tried at once."""
    sent = patch.sent()
    if not sent:
        return await read(mine, hook_id)
    if patch.url:
        check_url(state.settings, patch.url)
    if patch.enabled:
        check_offered(state.settings)
    named: dict[str, Any] = {"host": host_of(patch.url)} if patch.url else {}  # its path may be a secret
    named |= {"enabled": patch.enabled} if patch.enabled is not None else {}
    event = Event("webhook_changed", caller, {"webhook": str(hook_id), **named})
    values = {"in_webhook": hook_id, **{f"set_{name}": value for name, value in sent.items()}}
    return _body(await audit.write(mine, _edit(frozenset(sent)), values, event))


async def renew(state: State, mine: Scope, hook_id: UUID, secret: str | None, caller: Caller) -> tuple[str, str]:
    """A new secret, and until when the one before signs too. Raises NotFound."""
    secret = secret or new_secret()
    event = Event("webhook_changed", caller, {"webhook": str(hook_id), "secret": "renewed"})
    values = {"in_webhook": hook_id, "set_secret": state.seal.close(PURPOSE, secret.encode())}
    rows = await audit.write(mine, _renew(), values, event)
    if not rows:
        raise missing()
    return secret, str(rows[0].former_until)


async def remove(mine: Scope, hook_id: UUID, caller: Caller) -> None:
    """With what was not delivered yet. Raises NotFound."""
    event = Event("webhook_deleted", caller, {"webhook": str(hook_id)})

    async def work(inner: Scope) -> None:
        """No message is added once it is locked."""
        if not await inner.read(_lock(), {"in_webhook": hook_id}):
            raise missing()
        await inner.write(_remove(), {"in_webhook": hook_id, **event.values})

    await mine.together(work)
    event.log(mine.user_id)


def missing() -> NotFound:
    return NotFound("There is no such webhook.")


def check_offered(settings: Settings) -> None:
    """Raises NotOffered."""
    if not settings.webhooks:
        raise NotOffered("This server delivers no webhooks: its operator has set WEBHOOKS to false.")


def check_url(settings: Settings, url: str) -> None:
    """What can be told before any name is looked up. Raises Invalid and NotOffered."""
    check_offered(settings)
    if url.startswith("http:") and settings.environment == "production" and not settings.webhook_networks:
        raise Invalid.at("body", "url", msg="expected https: what is sent is somebody's data")
    try:
        reachable = is_reachable(host_of(url), settings.webhook_networks)
    except ValueError:
        reachable = host_of(url) != "localhost" or bool(settings.webhook_networks)
    if not reachable:
        words = "leads to an address that is not public; the operator can allow its network (WEBHOOK_NETWORKS)"
        raise Invalid.at("body", "url", msg=words)


async def reseal(database: Database, seal: Seal) -> int:
    """All secrets, under the newest JWT_SECRET; their number. Raises Broken."""
    rows = await database.read(_secrets(), {})
    for row in rows:
        former = seal.again(row.former_secret) if row.former_secret else None
        values = {"owner": row.user_id, "in_webhook": row.id, "was_secret": row.secret}
        await database.write(_reseal(), {**values, "set_secret": seal.again(row.secret), "set_former": former})
    return len(rows)


def switching_off(owner: ColumnElement[UUID], because: str) -> Any:
    """Part of a statement: all of the owner's that are on."""
    on = HOOKS.c.user_id == owner, HOOKS.c.disabled_at.is_(None)
    new = {"disabled_at": CLOCK, "disabled_because": literal_column(f"'{because}'", Text()), "updated_at": CLOCK}
    return update(HOOKS).where(*on).values(new).cte("switched_off")


def _body(rows: Sequence[Any]) -> str:
    if not rows:
        raise missing()
    return str(rows[0].body)


def this() -> tuple[ColumnElement[bool], ...]:
    return HOOKS.c.user_id == OWNER, HOOKS.c.id == bindparam("in_webhook", type_=Uuid())


def of_this() -> tuple[ColumnElement[bool], ...]:
    """Its deliveries."""
    return DELIVERIES.c.user_id == OWNER, DELIVERIES.c.webhook_id == bindparam("in_webhook", type_=Uuid())


def _shown(row: Any) -> list[ColumnElement[Any]]:
    failing = row.failing_since.is_not(None) & row.disabled_at.is_(None)
    next_try = case((failing, iso(row.next_try_at)), else_=null()).label("next_try_at")
    on = row.disabled_at.is_(None).label("enabled")
    times = [iso(row.failing_since), next_try, iso(row.created_at), iso(row.updated_at)]
    return [row.id, row.url, row.events, row.description, on, row.disabled_because, iso(row.disabled_at), *times]


def _as_body(source: Any, *beside: Any) -> Query:
    item = as_json(source, _shown(source.c))
    return select(*beside, text_of(item)).select_from(source.join(item, true()))


@statement
def _create() -> Query:
    new = [bindparam(f"new_{name}", type_=HOOKS.c[name].type) for name in GIVEN]
    others = HOOKS.alias("others")
    few = select(func.count()).where(others.c.user_id == OWNER).scalar_subquery() < MOST
    told = bindparam("in_told", type_=HOOKS.c.told_version.type)
    row = select(COUNTER.c.user_id, *new, told, told, COUNTER.c.epoch).where(COUNTER.c.user_id == OWNER, few)
    names = ["user_id", *GIVEN, "told_version", "settled_version", "epoch"]
    made = insert(HOOKS).from_select(names, row, include_defaults=False).returning(*HOOKS.c).cte("made")
    shown = _as_body(made, made.c.user_id).where(made.c.user_id == OWNER)
    return shown.add_cte(noted(made, OWNER))


@statement
def _listed() -> Query:
    theirs = select(*HOOKS.c).where(HOOKS.c.user_id == OWNER).subquery("theirs")
    return _as_body(theirs).order_by(theirs.c.id.desc())


@statement
def _one() -> Query:
    return _as_body(select(*HOOKS.c).where(*this()).subquery("this"))


@statement
def _edit(sent: frozenset[str]) -> Query:
    new: dict[str, Any] = {
        name: bindparam(f"set_{name}", type_=HOOKS.c[name].type) for name in sorted(sent - {"enabled"})
    }
    if "enabled" in sent:
        new |= _switched(bindparam("set_enabled", type_=true().type))
    elif "url" in sent:
        new |= ANEW
    changed = update(HOOKS).where(*this()).values({**new, "updated_at": CLOCK}).returning(*HOOKS.c).cte("changed")
    return _as_body(changed, changed.c.user_id).add_cte(noted(changed, changed.c.user_id))


def _switched(on: Any) -> Mapping[str, Any]:
    """On, it begins without its failures; off, it keeps why it was off before."""
    owner = literal_column("'owner'", Text())
    return {
        "disabled_at": case((on, null()), else_=func.coalesce(HOOKS.c.disabled_at, CLOCK)),
        "disabled_because": case((on, null()), else_=func.coalesce(HOOKS.c.disabled_because, owner)),
        **{name: case((on, value), else_=HOOKS.c[name]) for name, value in ANEW.items()},
    }


@statement
def _renew() -> Query:
    secret = bindparam("set_secret", type_=Text())
    new = {"former_secret": HOOKS.c.secret, "former_until": CLOCK + FORMER, "secret": secret, "updated_at": CLOCK}
    shown = HOOKS.c.user_id, iso(HOOKS.c.former_until)
    changed = update(HOOKS).where(*this()).values(new).returning(*shown).cte("changed")
    return select(*changed.c).add_cte(noted(changed, changed.c.user_id))


@statement
def _lock() -> Query:
    return select(HOOKS.c.id).where(*this()).with_for_update()


@statement
def _remove() -> Query:
    with_it = delete(DELIVERIES).where(*of_this()).cte("with_it")
    gone = delete(HOOKS).where(*this()).returning(HOOKS.c.user_id).cte("gone")
    return select(gone.c.user_id).add_cte(with_it, noted(gone, gone.c.user_id))


@statement
def _secrets() -> Query:
    former = case((HOOKS.c.former_until > CLOCK, HOOKS.c.former_secret), else_=null()).label("former_secret")
    known = select(HOOKS.c.user_id, HOOKS.c.id, HOOKS.c.secret, former)
    return known.execution_options(crosses_users="everything that is sealed")


@statement
def _reseal() -> Update:
    """A former secret whose time is over is forgotten."""
    same = HOOKS.c.secret == bindparam("was_secret", type_=Text())
    former = bindparam("set_former", type_=Text())
    until = case((former.is_(None), null()), else_=HOOKS.c.former_until)
    new = {"secret": bindparam("set_secret", type_=Text()), "former_secret": former, "former_until": until}
    return update(HOOKS).where(*this(), same).values(new)
