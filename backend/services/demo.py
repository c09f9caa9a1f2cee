"""A small account to look around with."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid5

from sqlalchemy import Text, Update, bindparam, update

from backend import door
from backend.config import Settings
from backend.db import Database
from backend.schemas.tasks import TaskCreate
from backend.scope import Scope
from backend.security.passwords import hash_password
from backend.services.accounts import USERS, open_account
from backend.services.task_criteria import TASKS
from backend.services.task_wire import shown
from backend.services.tasks import GIVEN, jsonable, row_of
from backend.statements import statement

EMAIL: Final = "demo@example.com"

# title, description, priority, due in days, tags, completed
TASKS_OF_THE_DEMO: Final = [
    (
        "Water the figs",
        "The two on the balcony, and the one in the kitchen.",
        "high",
        1,
        ["home", "plants"],
        False,
    ),
    ("Buy soil and a bigger pot", None, "medium", 3, ["home", "plants", "errands"], False),
    (
        "Renew the passport",
        "Photos first; the office is closed on Wednesdays.",
        "high",
        20,
        ["errands"],
        False,
    ),
    ("Call the dentist", None, "medium", -2, ["health", "calls"], False),
    ("Book the train to Zürich", "The early one has a quiet coach.", "high", 6, ["travel"], False),
    ("Pack for Zürich", "Charger, rain coat, the book for Émile.", "low", 12, ["travel"], False),
    ("Write the quarterly report", "Numbers are in the shared sheet.", "high", 9, ["work", "writing"], False),
    ("Review Noor's draft", None, "medium", 2, ["work", "writing"], False),
    ("Fix the flaky login test", "Fails on Mondays only.", "high", -1, ["work", "code"], False),
    ("Upgrade the database", "Read the release notes before.", "medium", 15, ["work", "code"], False),
    ("Answer the landlord", "About the heating, in writing.", "high", 0, ["home", "letters"], False),
    ("Learn to make injera", "Needs three days for the dough.", "low", None, ["kitchen"], False),
    ("Sharpen the knives", None, "low", None, ["kitchen", "home"], True),
    ("Return the library books", "One is overdue.", "medium", -4, ["errands"], True),
    ("Plan Sam's birthday", "Cake, candles, and the song in two voices.", "medium", 25, ["family"], False),
    ("Back up the photos", None, "low", None, ["home", "code"], False),
    ("Cancel the gym", "Before the first of the month.", "medium", 7, ["health", "letters"], False),
    ("Morning run, 5 km", None, "low", 1, ["health"], True),
    ("Read the chapter on queues", "And do the exercises this time.", "low", 10, ["reading"], False),
    ("Thank Ilse for the apples", None, "medium", None, ["letters", "family"], False),
]


async def make(settings: Settings) -> tuple[str, str, int]:
    """Address, password and number of tasks. Made again, it keeps its tasks and changes its password."""
    password = secrets.token_urlsafe(9)
    hashed = await hash_password(password)
    database = Database(settings)
    try:
        found = await database.write(_set_password(), {"in_key": EMAIL, "set_hash": hashed})
        if not found:
            await open_account(database, EMAIL, "Demo", hashed)
            found = await database.write(_set_password(), {"in_key": EMAIL, "set_hash": hashed})
        mine = Scope(found[0].id, database)
        rows = [jsonable(row_of(mine, task)) for task in _tasks(mine)]
        await mine.write(door.create_many(TASKS, GIVEN, shown, skip_existing=True), {"rows": door.rows_of(rows)})
    finally:
        await database.close()
    return EMAIL, password, len(rows)


def _tasks(mine: Scope) -> list[TaskCreate]:
    today = datetime.now(UTC).replace(hour=18, minute=0, second=0, microsecond=0)
    return [
        TaskCreate.model_validate(
            {
                "id": uuid5(mine.user_id, title),
                "title": title,
                "description": description,
                "priority": priority,
                "due_date": None if due is None else today + timedelta(days=due),
                "tags": tags,
                "completed": completed,
            }
        )
        for title, description, priority, due, tags, completed in TASKS_OF_THE_DEMO
    ]


@statement
def _set_password() -> Update:
    this = USERS.c.email_key == bindparam("in_key", type_=Text())
    return update(USERS).where(this).values(password_hash=bindparam("set_hash", type_=Text())).returning(USERS.c.id)
