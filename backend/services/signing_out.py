"""Somebody signed out everywhere by the operator: no session, token or mail of before lets anybody in."""

from sqlalchemy import Text, bindparam, delete, or_, select

from backend.db import Database
from backend.models import AccessToken, table
from backend.services import audit
from backend.services.accounts import OPERATOR, USERS, email_key
from backend.services.audit import Caller, Event, noted
from backend.services.confirmations import taking_back
from backend.services.sessions import SESSIONS, ending, living
from backend.statements import Query, statement

TOKENS = table(AccessToken)


async def sign_out(database: Database, email: str) -> bool:
    """False when there is no such account."""
    event = Event("signed_out_everywhere", Caller("", "operator"))
    return bool(await audit.write(database, _sign_out(), {"in_key": email_key(email)}, event))


async def signed_in(database: Database) -> list[str]:
    """The addresses of those who have a session or a token."""
    return [row.email_key for row in await database.read(_signed_in(), {})]


@statement
def _sign_out() -> Query:
    this = select(USERS.c.id.label("user_id")).where(USERS.c.email_key == bindparam("in_key", type_=Text())).cte("this")
    revoked = delete(TOKENS).where(TOKENS.c.user_id == this.c.user_id).cte("revoked")
    ended = ending(this.c.user_id), revoked, taking_back(this.c.user_id), noted(this, this.c.user_id)
    return select(this.c.user_id).add_cte(*ended).execution_options(crosses_users=OPERATOR)


@statement
def _signed_in() -> Query:
    session = select(SESSIONS.c.id).where(SESSIONS.c.user_id == USERS.c.id, living())
    token = select(TOKENS.c.id).where(TOKENS.c.user_id == USERS.c.id)
    known = select(USERS.c.email_key).where(or_(session.exists(), token.exists())).order_by(USERS.c.id)
    return known.execution_options(crosses_users=OPERATOR)
