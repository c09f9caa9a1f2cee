"""Another language of an account is that of all its tasks: each is indexed anew."""

from typing import Final

from sqlalchemy import Integer, Text, bindparam, select

from backend import door
from backend.door import Query, statement
from backend.scope import Changing, Scope
from backend.services.task_criteria import TASKS
from backend.wall import OWNER

BATCH: Final = 1_000


async def all_tasks(mine: Scope, language: str) -> None:
    """Gives each task of another language a new version, in batches: none keeps the other writes waiting long."""

    async def batch(changing: Changing) -> int:
        others = await changing.run(_of_another(), {"set_language": language, "in_limit": BATCH})
        if not others:
            return 0
        values = {"ids": [row.id for row in others], "before": changing.first - 1, "set_language": language}
        return len(await changing.run(door.change_many(TASKS, frozenset({"language"})), values))

    while await mine.change(batch, at_most=BATCH):
        pass


@statement
def _of_another() -> Query:
    language = bindparam("set_language", type_=Text())
    others = TASKS.c.user_id == OWNER, TASKS.c.deleted_at.is_(None), TASKS.c.language != language
    return select(TASKS.c.id).where(*others).order_by(TASKS.c.id).limit(bindparam("in_limit", type_=Integer()))
