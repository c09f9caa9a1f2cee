"""What delivering asks of the database. A worker holds a webhook by its claim: without it, nothing is changed."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Interval,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    extract,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH

from backend.rules.webhooks import FEWEST_FAILURES, GIVEN_UP
from backend.services.sessions import USERS, account_of
from backend.services.webhooks import ANEW, DELIVERIES, HOOKS, of_this, this
from backend.statements import CLOCK, COUNTER, Query, statement
from backend.wall import OWNER

LEASE: Final = cast(literal_column("'30 seconds'"), Interval())  # twice what a delivery may take
CLAIM: Final = bindparam("in_claim", type_=Uuid())
LOGGED: Final[Any] = literal_column("200", Integer())  # deliveries of a webhook
TRIES: Final[Any] = literal_column("10", Integer())  # of a delivery
SHARE: Final = 3
"""Webhooks of one user that a worker takes at once."""
EVERYBODY: Final = "one statement asks who has something to be told"


def _waiting(*columns: Any) -> Query:
    """Webhooks that have something to deliver, whenever."""
    pending = exists().where(
        DELIVERIES.c.user_id == HOOKS.c.user_id,
        DELIVERIES.c.webhook_id == HOOKS.c.id,
        DELIVERIES.c.delivered_at.is_(None),
    )
    account = and_(*account_of(HOOKS.c.user_id))
    whose = HOOKS.join(COUNTER, COUNTER.c.user_id == HOOKS.c.user_id).join(USERS, account)
    news = or_(COUNTER.c.seq > HOOKS.c.told_version, COUNTER.c.epoch != HOOKS.c.epoch, pending)
    return select(*columns).select_from(whose).where(HOOKS.c.disabled_at.is_(None), news)


DUE_AT: Final = func.greatest(HOOKS.c.next_try_at, HOOKS.c.claimed_until)


@statement
def claim() -> Query:
    """(user_id, id) of up to `in_most` that are due, those first that have waited longest: of each user a few, of
    `in_full` none. Nobody else has them now: of two workers, the second looks again at what the first has left.
    """
    place = func.row_number().over(partition_by=HOOKS.c.user_id, order_by=DUE_AT).label("place")
    free = HOOKS.c.user_id != func.all(bindparam("in_full", type_=ARRAY(Uuid())))
    ranked = _waiting(HOOKS.c.user_id, HOOKS.c.id, DUE_AT.label("due_at"), place).where(DUE_AT <= CLOCK, free)
    some = ranked.subquery("ranked")
    first = select(some.c.user_id, some.c.id).where(some.c.place <= literal_column(str(SHARE), Integer()))
    due = first.order_by(some.c.due_at).limit(bindparam("in_most", type_=Integer())).cte("due")
    these = HOOKS.c.user_id == due.c.user_id, HOOKS.c.id == due.c.id, DUE_AT <= CLOCK
    new = {"claim": CLAIM, "claimed_until": CLOCK + LEASE}
    claimed = update(HOOKS).where(*these).values(new).returning(HOOKS.c.user_id, HOOKS.c.id).cte("claimed")
    return select(*claimed.c).execution_options(crosses_users=EVERYBODY)


@statement
def next_due() -> Query:
    """In how many seconds there is one that is due; null when nothing waits."""
    seconds = extract("epoch", func.min(DUE_AT) - CLOCK).label("seconds")
    return _waiting(seconds).execution_options(crosses_users=EVERYBODY)


@statement
def release_all() -> Query:
    """What the worker has claimed."""
    held = HOOKS.c.claim == func.any(bindparam("in_claims", type_=ARRAY(Uuid()))), HOOKS.c.claimed_until > CLOCK
    free = update(HOOKS).where(*held).values(claimed_until=CLOCK).returning(HOOKS.c.id).cte("free")
    return select(free.c.id).execution_options(crosses_users="a worker that stops lets go of all")


def _claimed() -> tuple[Any, ...]:
    return *this(), HOOKS.c.claim == CLAIM


def _held() -> tuple[Any, ...]:
    return *_claimed(), HOOKS.c.disabled_at.is_(None)


def _unchanged() -> tuple[Any, ...]:
    """As `head` has shown it: nobody has led it elsewhere, switched it on, asked for other events or another try."""
    was = (
        HOOKS.c[name] == bindparam(f"was_{name}", type_=HOOKS.c[name].type) for name in ("updated_at", "next_try_at")
    )
    return *_held(), *was


@statement
def head() -> Query:
    """The webhook, and the first message that waits for it; no row when it is off, gone, or another worker's."""
    first = (
        select(DELIVERIES.c.id.label("delivery_id"), DELIVERIES.c.body)
        .where(*of_this(), DELIVERIES.c.delivered_at.is_(None))
        .order_by(DELIVERIES.c.id)
        .limit(literal_column("1", Integer()))
        .subquery("first")
    )
    former = case((HOOKS.c.former_until > CLOCK, HOOKS.c.former_secret), else_=null()).label("former_secret")
    told = HOOKS.c.epoch, HOOKS.c.told_version, HOOKS.c.settled_version, HOOKS.c.updated_at, HOOKS.c.next_try_at
    hook = HOOKS.c.id, HOOKS.c.url, HOOKS.c.description, HOOKS.c.events, HOOKS.c.secret, former, HOOKS.c.failures, *told
    whose = HOOKS.join(USERS, and_(*account_of(HOOKS.c.user_id))).outerjoin(first, true())
    return select(*hook, *first.c).select_from(whose).where(*_held())


@statement
def take() -> Query:
    """The webhook has come from `was_told_version` to another, and these messages wait. No row if anything is not as
    it was: then nothing is done.
    """
    kinds: dict[str, Any] = {"id": Uuid(), "type": Text(), "body": Text()}
    given = (
        func.unnest(*(bindparam(f"each_{name}", type_=ARRAY(kind)) for name, kind in kinds.items()))
        .table_valued(*kinds, name="given")
        .render_derived()
    )
    told: dict[str, Any] = {
        "told_version": bindparam("set_told_version", type_=BigInteger()),
        "settled_version": bindparam("set_settled_version", type_=BigInteger()),
        "epoch": bindparam("set_epoch", type_=Uuid()),
        "claimed_until": CLOCK + LEASE,
    }
    was = HOOKS.c.told_version == bindparam("was_told_version", type_=BigInteger())
    moved = update(HOOKS).where(*_unchanged(), was).values(told).returning(HOOKS.c.user_id, HOOKS.c.id).cte("moved")
    rows = select(moved.c.user_id, moved.c.id, *given.c).select_from(moved.join(given, true()))
    names = ["user_id", "webhook_id", *kinds]
    made = insert(DELIVERIES).from_select(names, rows, include_defaults=False).cte("made")
    old = DELIVERIES.alias("old")
    theirs = old.c.user_id == OWNER, old.c.webhook_id == bindparam("in_webhook", type_=Uuid())
    past = (
        select(old.c.id).where(*theirs).order_by(old.c.id.desc()).offset(LOGGED).limit(literal_column("1")).cte("past")
    )
    too_many = *of_this(), DELIVERIES.c.id <= past.c.id, DELIVERIES.c.delivered_at.is_not(None)
    forgotten = delete(DELIVERIES).where(*too_many).cte("forgotten")
    return select(moved.c.id).add_cte(made, forgotten)


@statement
def record(taken: bool) -> Query:
    """What became of a try; with why the webhook is off, if it is now. No row if it is not the worker's any more, or
    if it failed and was changed meanwhile: that try counts for nothing.
    """
    if taken:
        new: dict[str, Any] = {**ANEW, "claimed_until": CLOCK + LEASE}
    else:
        since = func.coalesce(HOOKS.c.failing_since, CLOCK)
        days = cast(literal_column(f"'{GIVEN_UP.days} days'"), Interval())
        long = and_(since < CLOCK - days, HOOKS.c.failures >= literal_column(str(FEWEST_FAILURES), Integer()))
        failing = case((long, literal_column("'failing'", Text())), else_=null())
        because = func.coalesce(bindparam("set_because", type_=Text()), failing)
        new = {
            "failures": HOOKS.c.failures + literal_column("1"),
            "failing_since": since,
            "next_try_at": CLOCK + bindparam("set_wait", type_=Interval()),
            "claimed_until": CLOCK,
            "disabled_because": because,
            "disabled_at": case((because.is_not(None), CLOCK), else_=null()),
        }
    shown = HOOKS.c.user_id, HOOKS.c.id, HOOKS.c.disabled_because
    held = _claimed() if taken else _unchanged()
    hook = update(HOOKS).where(*held).values(new).returning(*shown).cte("hook")
    tried = DELIVERIES.c.tries.concat(bindparam("new_try", type_=JSONB))
    later = func.jsonb_path_query_array(tried, cast(literal_column("'$[1 to last]'"), JSONPATH()))
    fewer = case((func.jsonb_array_length(tried) > TRIES, later), else_=tried)
    that = DELIVERIES.c.user_id == hook.c.user_id, DELIVERIES.c.webhook_id == hook.c.id
    log: dict[str, Any] = {"attempts": DELIVERIES.c.attempts + literal_column("1"), "tries": fewer}
    if taken:
        log["delivered_at"] = CLOCK
    tried_one = update(DELIVERIES).where(*that, DELIVERIES.c.id == bindparam("in_delivery", type_=Uuid())).values(log)
    return select(hook.c.id, hook.c.disabled_because).add_cte(tried_one.cte("tried"))


@statement
def release() -> Query:
    free = update(HOOKS).where(*_claimed()).values(claimed_until=CLOCK)
    return select(free.returning(HOOKS.c.id).cte("free").c.id)


@statement
def postpone() -> Query:
    wait = CLOCK + bindparam("set_wait", type_=Interval())
    later = update(HOOKS).where(*_claimed()).values(claimed_until=CLOCK, next_try_at=wait)
    return select(later.returning(HOOKS.c.id).cte("later").c.id)


@statement
def owner() -> Query:
    return select(USERS.c.email, USERS.c.name).where(USERS.c.id == OWNER)
