"""Another language of an account is that of all its tasks and comments: each is indexed anew."""

from functools import partial
from typing import Final

from sqlalchemy import Integer, Table, Text, bindparam, select

from backend.scope import Changing, Scope
from backend.services.changes import change_all
from backend.services.comment_search import COMMENTS
from backend.services.task_criteria import TASKS
from backend.statements import Query, statement
from backend.wall import OWNER

BATCH: Final = 1_000


async def all_texts(mine: Scope, language: str) -> None:
    """Gives each of another language a new version, in batches: none keeps the other writes waiting long."""

    async def batch(target: Table, changing: Changing) -> int:
        others = await changing.run(_of_another(target), {"set_language": language, "in_limit": BATCH})
        if not others:
            return 0
        ids = [row.id for row in others]
        return len(await change_all(changing, target, ids, {"language": language}, first=changing.first))

    for target in (TASKS, COMMENTS):
        while await mine.change(partial(batch, target), at_most=BATCH):
            pass


@statement
def _of_another(target: Table) -> Query:
    language = bindparam("set_language", type_=Text())
    others = target.c.user_id == OWNER, target.c.deleted_at.is_(None), target.c.language != language
    return select(target.c.id).where(*others).order_by(target.c.id).limit(bindparam("in_limit", type_=Integer()))
